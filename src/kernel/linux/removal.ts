// Deleting a link without waiting for the kernel to have cleaned up after it.
//
// The kernel closes a device, takes it off every list and tells of that within some milliseconds; its answer to the request comes
// only when the last reader may have let go of the device, which takes tens of them. So a pool thread waits for the answer,
// and whoever asked goes on as soon as the event has come.
import { encodeLink, LINK_MESSAGE } from "../netlink/link.ts";
import { requestAway } from "./away.ts";
import { NETLINK_ROUTE, NetlinkSocket } from "./socket.ts";

/** The deletions that are under way through one namespace handle. */
export class LinkRemovals {
  readonly #run: <T>(action: () => T) => T;
  readonly #ports = new Set<number>();
  readonly #gone = new Map<number, () => void>();

  constructor(run: <T>(action: () => T) => T) {
    this.#run = run;
  }

  /** Whether a socket of a deletion under way has this port id. */
  isOwn(port: number): boolean {
    return this.#ports.has(port);
  }

  /** The kernel tells that the link has gone. */
  notice(index: number): void {
    this.#gone.get(index)?.();
  }

  /** Resolves once the link is on no list any more. @throws KernelError as the kernel says */
  async remove(name: string, index: number): Promise<void> {
    let port: number | undefined;
    const open = () => {
      const socket = this.#run(() => new NetlinkSocket(NETLINK_ROUTE));
      port = socket.port;
      this.#ports.add(port);
      return socket;
    };
    const request = { type: LINK_MESSAGE.delete, body: encodeLink({ index, attributes: {} }) };
    await new Promise<void>((resolve, reject) => {
      this.#gone.set(index, resolve);
      requestAway(open, request, { operation: "delete link", subject: name })
        .finally(() => {
          this.#gone.delete(index);
          if (port !== undefined) this.#ports.delete(port);
        })
        .then(resolve, reject);
    });
  }
}
