// A server block without sockets, for the tests of plugins: a Corefile's block in, replies out.
import type { ClusterSource } from "../src/cluster/index.ts";
import { TYPE, typeOf } from "../src/dns/message.ts";
import { createMetrics, type MetricRegistry } from "../src/dns/metrics.ts";
import { hostNetwork } from "../src/dns/network.ts";
import type { Host } from "../src/dns/plugin.ts";
import { DROPPED, type Handler, type Origin, type Query, type Reply } from "../src/dns/query.ts";
import { type Block, type Configuration, chainOf, readConfiguration } from "../src/dns/serve/configuration.ts";
import { formatRecord } from "../src/dns/text/format.ts";

export interface Chain {
  readonly block: Block;
  readonly configuration: Configuration;
  readonly metrics: MetricRegistry;
  readonly logged: string[];
  /** Milliseconds of the clock that the plugins see; to be moved by the test. */
  clock: number;
  ask(
    name: string,
    type?: keyof typeof TYPE,
    fields?: Partial<Omit<Query, "origin">> & { origin?: Partial<Origin> },
  ): Promise<Reply | "dropped">;
}

export interface ChainOptions {
  /** Stands after the last plugin of the block. */
  readonly next?: Handler;
  readonly source?: ClusterSource;
  readonly random?: () => number;
  readonly path?: string;
  readonly environment?: Record<string, string>;
}

/** Sets up and starts the first block of the Corefile. A text that does not begin with a dot is put into `.:53 { … }`. */
export async function chain(text: string, options: ChainOptions = {}): Promise<Chain> {
  const logged: string[] = [];
  const metrics = createMetrics();
  const state = { clock: 0 };
  const configured: { current?: Configuration } = {};
  const host: Host = {
    network: hostNetwork(),
    source: options.source,
    metrics,
    log: (level, plugin, line) => logged.push(`${level} ${plugin}: ${line}`),
    now: () => state.clock,
    random: options.random ?? (() => 0),
    path: options.path,
    resolve: (query) => handler.serve(query),
    everyInstalled: () => configured.current?.blocks.flatMap((each) => each.installed) ?? [],
    reload: async () => false,
    digest: () => "",
    fail: (reason) => logged.push(`fail: ${reason}`),
  };
  const corefile = text.startsWith(".") ? text : `.:53 {\n${text}\n}\n`;
  const configuration = readConfiguration(corefile, { file: options.path ?? "Corefile", environment: options.environment ?? {} }, host);
  configured.current = configuration;
  const [block] = configuration.blocks;
  if (!block) throw new Error("no block");
  const last = options.next;
  const handler = last ? chainOf([...block.installed, { plugin: last.name, installed: { handler: () => last } }]) : block.chain;
  for (const { installed } of block.installed) await installed.start?.();
  return Object.assign(state, {
    block,
    configuration,
    metrics,
    logged,
    ask: async (name: string, type: keyof typeof TYPE = "A", fields = {}) => {
      const query: Query = {
        id: 1,
        recursionDesired: true,
        authenticData: false,
        checkingDisabled: false,
        name: name.toLowerCase(),
        type: TYPE[type],
        class: 1,
        zone: block.site.zones[0] ?? ".",
        udpSize: 512,
        size: 40,
        spelled: name,
        ...fields,
        origin: { transport: "udp", address: "10.244.0.7", port: 40_000, server: block.site.server, ...fields.origin },
      } as Query;
      if (!block.filters.every((takes) => takes(query))) return "dropped";
      const reply = await handler.serve(query);
      for (const observe of block.observers) observe({ query, reply, size: 100, milliseconds: 1 });
      return reply === DROPPED ? "dropped" : reply;
    },
  } as Omit<Chain, "clock">) as Chain;
}

/** A handler that answers from a table "NAME TYPE" → reply; what is not in it is NXDOMAIN. It counts what it was asked. */
export function tableHandler(table: Record<string, Reply>, otherwise: Reply): Handler & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    name: "table",
    asked,
    serve: (query) => {
      const type = Object.entries(TYPE).find(([, code]) => code === query.type)?.[0] ?? String(query.type);
      asked.push(`${query.name} ${type}`);
      return table[`${query.name} ${type}`] ?? otherwise;
    },
  };
}

/** The answers of a reply as lines of text, sorted where `sorted`. */
export function lines(reply: Reply | "dropped", section: "answers" | "authorities" | "additionals" = "answers"): string[] {
  return reply === "dropped" ? ["dropped"] : reply[section].filter((record) => typeOf(record) > 0).map(formatRecord);
}
