// The fabric's door to an API server outside of it: the router takes the addresses that Service default/kubernetes sends to, and
// the daemon carries each connection on to the server.
//
//   pod ── Service default/kubernetes ──▶ end point's address, on the router ──▶ daemon ──▶ the server, where the person reaches it
import { connect, createServer, type Server } from "node:net";
import { messageOf } from "../../base/index.ts";
import type { ReadableStore } from "../../cluster/index.ts";
import { KernelError, type NetworkNamespace } from "../../kernel/index.ts";
import type { EndpointSlice } from "../../resources/index.ts";
import { isFabricAddress } from "../networks.ts";
import { REFS } from "../refs.ts";

export interface ApiDoorOptions {
  readonly router: NetworkNamespace;
  readonly objects: ReadableStore;
  /** Where the daemon reaches the server. */
  readonly server: { readonly host: string; readonly port: number };
  /** Addresses of the fabric itself that may be the server's. */
  readonly known: readonly string[];
  readonly log: (message: string) => void;
}

/** The link of the router that the addresses are put on. */
const LINK = "subnet0";

/** Opens a door for each end point, and follows what the server says of them. Returns the way to close. */
export function openApiDoor({ router, objects, server, known, log }: ApiDoorOptions): () => void {
  const slices = new Map<string, readonly string[]>();
  const doors = new Map<string, () => void>();

  function follow(): void {
    const wanted = new Set([...slices.values()].flat());
    for (const [place, close] of doors) {
      if (wanted.has(place)) continue;
      close();
      doors.delete(place);
    }
    for (const place of wanted) {
      if (doors.has(place)) continue;
      try {
        doors.set(place, open(place));
      } catch (error) {
        // Said once; tried again with the next change of the end points.
        log(`pods can't reach the API server at ${place}: ${messageOf(error)}`);
      }
    }
  }

  function open(place: string): () => void {
    const { address, port } = splitPlace(place);
    if (isFabricAddress(address) && !known.includes(address))
      throw new Error("the address lies within the lab's own underlay; give the server another, or the cluster other end points");
    const added = takeAddress(router, address);
    const listener: Server = createServer((inside) => {
      const outside = connect(server.port, server.host);
      const end = () => {
        inside.destroy();
        outside.destroy();
      };
      // Whichever side ends or breaks takes the other along.
      inside.on("error", end).on("close", end);
      outside.on("error", end).on("close", end);
      inside.setNoDelay(true);
      outside.setNoDelay(true);
      inside.pipe(outside).pipe(inside);
    });
    listener.on("error", (error) => log(`door ${place}: ${error.message}`));
    listener.listen({ fd: router.bindSocket({ protocol: "tcp", address, port }) });
    return () => {
      listener.close();
      if (added) router.apply({ op: "delete", address: { link: LINK, address: added } });
    };
  }

  const stop = objects.watch(REFS.endpointSlices, {}, ({ type, object }) => {
    const { metadata, endpoints, ports } = object as EndpointSlice;
    if (metadata.namespace !== "default" || metadata.labels?.["kubernetes.io/service-name"] !== "kubernetes") return;
    const places = (endpoints ?? []).flatMap(({ addresses }) =>
      addresses.flatMap((address) => (ports ?? []).flatMap(({ port }) => (port === undefined ? [] : `${address} ${port}`))),
    );
    if (type === "DELETED") slices.delete(metadata.name);
    else slices.set(metadata.name, places);
    follow();
  });
  return () => {
    stop();
    for (const close of doors.values()) close();
  };
}

function splitPlace(place: string): { readonly address: string; readonly port: number } {
  const [address = "", port = ""] = place.split(" ");
  return { address, port: Number(port) };
}

/** Puts the address on the router unless it has it; what was added. */
function takeAddress(router: NetworkNamespace, address: string): string | undefined {
  const prefix = `${address}/${address.includes(":") ? 128 : 32}`;
  try {
    router.apply({ op: "add", address: { link: LINK, address: prefix, nodad: true } });
    return prefix;
  } catch (error) {
    if (error instanceof KernelError && error.errnoName === "EEXIST") return undefined;
    throw error;
  }
}
