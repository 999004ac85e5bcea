// What a plugin is: a directive of the Corefile that becomes a handler in a chain, an observer, or both.
//
//   plugins/NAME/setup.ts   reads the directive: `export const NAME: Plugin = { name, setup(directives, site) { … } }`
//   plugins/NAME/NAME.ts    the handler
//   plugins/order.ts        every plugin, in the one order in which they stand in a chain
import type { ClusterSource } from "../cluster/index.ts";
import type { Directive } from "./corefile/index.ts";
import type { Name } from "./message.ts";
import type { MetricRegistry } from "./metrics.ts";
import type { DnsNetwork } from "./network.ts";
import type { Handler, Outcome, Query, Reply } from "./query.ts";

export interface Plugin {
  readonly name: string;
  /**
   * Reads every occurrence of the directive in one server block, in the file's order. It only reads: sockets, timers and
   * the like wait for `start`, because a configuration may be refused after this. @throws CorefileError
   */
  setup(directives: readonly Directive[], site: Site): Installed;
}

/** What a plugin puts into one server block. */
export interface Installed {
  /** Makes the handler that stands before `next`. */
  handler?(next: Handler): Handler;
  /** Called after each answer of the block. */
  observe?(answered: Answered): void;
  /** Whether the block takes this query; every filter of a block must agree (the plugin view). */
  filter?(query: Query): boolean;
  /** Addresses that the block listens on instead of all (the plugin bind). */
  readonly addresses?: readonly string[];
  /** HTTP paths to serve while this configuration is in force: address ("" for all) and port → path → handler. */
  readonly http?: readonly HttpRoute[];
  /** Called once, before the first query, in the order of plugins; a start that fails refuses the configuration. */
  start?(): void | Promise<void>;
  /** For the plugin ready: false while it has no answers yet. */
  ready?(): boolean;
  /** Called at the server's end (not at a reload) before the sockets close, which wait for it: the lame-duck time. */
  retire?(): Promise<void>;
  /** Called once, after the last query. */
  stop?(): void;
  /** The search path of the asker, for the plugin autopath; undefined where it is not known. */
  searchPath?(query: Query): readonly Name[] | undefined;
}

export interface HttpRoute {
  /** "" for every address. */
  readonly address: string;
  readonly port: number;
  readonly path: string;
  respond(): HttpAnswer | Promise<HttpAnswer>;
}

interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  readonly contentType?: string;
}

/** A query that was answered, for metrics and logs. */
export interface Answered {
  readonly query: Query;
  readonly reply: Reply;
  /** Bytes of the answer as sent; 0 where it was dropped. */
  readonly size: number;
  /** From the query's arrival, in milliseconds. */
  readonly milliseconds: number;
}

/** Where a plugin is set up: one server block of a server. */
export interface Site {
  /** The block's zones, in lower case with the final dot. */
  readonly zones: readonly Name[];
  readonly port: number;
  /** The block's keys on this port, as metrics name it: "dns://:53". */
  readonly server: string;
  /** The names of the plugins of this block. */
  readonly plugins: readonly string[];
  /** Finds what another plugin of the block installed; only from `start` on. */
  installed(plugin: string): Installed | undefined;
  readonly host: Host;
}

/** The server around the blocks: what all of them share. */
export interface Host {
  readonly network: DnsNetwork;
  /** The cluster's objects; undefined where the server runs without a cluster. */
  readonly source: ClusterSource | undefined;
  readonly metrics: MetricRegistry;
  readonly log: DnsLog;
  /** Milliseconds that only grow. */
  now(): number;
  /** From 0 up to, not including, 1. */
  random(): number;
  /** The Corefile's path; undefined where its text was given. Files named in it are relative to its folder. */
  readonly path: string | undefined;
  /** Asks the whole server, as a client would: for the targets of CNAMEs. */
  resolve(query: Query): Outcome;
  /** Every plugin of every block, for the plugin ready. */
  everyInstalled(): Iterable<{ readonly plugin: string; readonly installed: Installed }>;
  /** Reads the Corefile again and takes it into force if it is different; true if it was. @throws CorefileError, DnsServeError */
  reload(): Promise<boolean>;
  /** SHA-512 of the Corefile in force, with what it imports. */
  digest(): string;
  /** Ends the server because going on would do harm (a forwarding loop). */
  fail(reason: string): void;
}

/** One line of the server's log. */
export type DnsLog = (level: "info" | "warning" | "error", plugin: string, text: string) => void;
