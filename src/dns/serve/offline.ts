// A Corefile's answers by calculation: its chains over a snapshot, with no socket. What would be forwarded is not asked.
import { resolve } from "node:path";
import type { ClusterSource } from "../../cluster/index.ts";
import { CLASS, RCODE } from "../message.ts";
import { createMetrics } from "../metrics.ts";
import type { DnsNetwork, UdpPort } from "../network.ts";
import type { Host } from "../plugin.ts";
import { DROPPED, type Query, type Reply } from "../query.ts";
import { decodeMessage, encodeMessage } from "../wire/codec.ts";
import { DnsFormatError } from "../wire/errors.ts";
import { type InstalledPlugin, readConfiguration } from "./configuration.ts";
import { Responder } from "./responder.ts";

export interface OfflineOptions {
  readonly corefile: string;
  readonly source: ClusterSource;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

export interface OfflineAnswer {
  /** Undefined: the query is dropped. */
  readonly reply: Reply | undefined;
  /** The server that it would be forwarded to; the reply is made up then. */
  readonly upstream: string | undefined;
}

export interface OfflineDns {
  ask(question: { readonly name: string; readonly type: number; readonly from: string; readonly server: string }): Promise<OfflineAnswer>;
  close(): void;
}

/** Plugins that do something to the world when they start: look for loops, look at files again. */
const NOT_STARTED = ["loop", "reload"];

export interface CheckedBlock {
  readonly zones: readonly string[];
  readonly port: number;
  /** In the order in which they are asked, whatever the file's is. */
  readonly plugins: readonly string[];
}

/** Reads a Corefile as the server would, and starts nothing. @throws CorefileError */
export function checkCorefile(text: string, path: string, environment: Readonly<Record<string, string | undefined>> = {}): CheckedBlock[] {
  const { blocks } = readConfiguration(text, { file: path, environment }, hostOf({ path, source: undefined, asked: () => {} }).host);
  return blocks.map(({ site }) => ({ zones: site.zones, port: site.port, plugins: site.plugins }));
}

/** What plugins are set up with here; `late` is filled in once there are chains. */
function hostOf(given: {
  readonly path: string | undefined;
  readonly source: ClusterSource | undefined;
  readonly asked: (address: string) => void;
}) {
  const late: { responder?: Responder; installed: readonly InstalledPlugin[] } = { installed: [] };
  const host: Host = {
    network: silentNetwork(given.asked),
    source: given.source,
    metrics: createMetrics(),
    log: () => {},
    now: () => performance.now(),
    random: () => 0,
    path: given.path === undefined ? undefined : resolve(given.path),
    resolve: (query) => late.responder?.resolve(query) ?? DROPPED,
    everyInstalled: () => late.installed,
    digest: () => "",
    reload: async () => false,
    fail: () => {},
  };
  return { host, late };
}

/** @throws CorefileError */
export async function openOffline({ corefile, source, environment = {} }: OfflineOptions): Promise<OfflineDns> {
  const upstreams: string[] = [];
  const { host, late } = hostOf({ path: undefined, source, asked: (address) => void upstreams.push(address) });
  const { blocks, listening } = readConfiguration(corefile, { file: "Corefile", environment }, host);
  const counts = { queries: 0, waiting: 0, malformed: 0 };
  const responders = listening.map((each) => new Responder(each, counts, { now: host.now }));
  const installed = blocks.flatMap((block) => block.installed);
  Object.assign(late, { responder: responders[0], installed });
  for (const each of installed) if (!NOT_STARTED.includes(each.plugin)) await each.installed.start?.();
  return {
    async ask({ name, type, from, server }) {
      const responder = responders.find((each) => each.listening.port === 53 && ["", server].includes(each.listening.address));
      upstreams.length = 0;
      const reply = await responder?.resolve(queryOf(name, type, from));
      return { reply: reply === DROPPED ? undefined : reply, upstream: upstreams[0] };
    },
    close() {
      for (const each of installed) each.installed.stop?.();
    },
  };
}

function queryOf(name: string, type: number, address: string): Query {
  return {
    id: 0,
    recursionDesired: true,
    authenticData: false,
    checkingDisabled: false,
    name: name.toLowerCase(),
    type,
    class: CLASS.IN,
    zone: ".",
    udpSize: 1232,
    origin: { transport: "udp", address, port: 40_000, server: "dns://:53" },
    size: name.length + 17,
    spelled: name,
  };
}

/** A network where every server that is asked answers NXDOMAIN at once; `asked` is told of it. */
function silentNetwork(asked: (address: string) => void): DnsNetwork {
  const port = (): UdpPort => {
    let hear: Parameters<UdpPort["receive"]>[0] = () => {};
    return {
      port: 0,
      receive: (listener) => {
        hear = listener;
      },
      send: (bytes, address, to) => {
        asked(address);
        const answer = denial(bytes);
        if (answer) queueMicrotask(() => hear(answer, address, to));
      },
      failed: () => {},
      close: () => {},
    };
  };
  const refuse = (address: string): never => {
    asked(address);
    throw new Error("nothing is sent by calculation");
  };
  return { bindUdp: async () => port(), connectUdp: async () => port(), listenTcp: async () => {}, connectTcp: refuse };
}

function denial(bytes: Uint8Array): Uint8Array | undefined {
  try {
    return encodeMessage({ ...decodeMessage(bytes), response: true, rcode: RCODE.NXDOMAIN });
  } catch (error) {
    if (error instanceof DnsFormatError) return undefined;
    throw error;
  }
}
