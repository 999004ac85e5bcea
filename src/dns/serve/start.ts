// A DNS server by its Corefile: reads it, puts it into force, replaces it while serving, says how it is, and ends.
//
//   text ─▶ readConfiguration ─▶ start of each plugin ─▶ sockets that are new ─▶ in force ─▶ the old one's plugins stop
//   A fault on the way refuses the new configuration; the old one stays as it is.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { deadline, messageOf } from "../../base/index.ts";
import type { ClusterSource } from "../../cluster/index.ts";
import type { ParseOptions } from "../corefile/index.ts";
import { RCODE } from "../message.ts";
import { createMetrics, type MetricRegistry } from "../metrics.ts";
import { type DnsNetwork, hostNetwork } from "../network.ts";
import type { Answered, DnsLog, Host } from "../plugin.ts";
import { type Outcome, type Query, reply } from "../query.ts";
import { type Configuration, corefileDigest, type InstalledPlugin, readConfiguration } from "./configuration.ts";
import { DnsServeError } from "./errors.ts";
import { type ListenerStatus, Listeners } from "./listeners.ts";
import type { Counts } from "./responder.ts";

export interface DnsOptions {
  /** The Corefile's text; where it is not given it is read from `path`. */
  readonly corefile?: string;
  /** The Corefile's path: for imports, relative files, the plugin reload, and errors. */
  readonly path?: string;
  /** Where sockets are made; this process's own network by default. */
  readonly network?: DnsNetwork;
  /** The cluster's objects, for the plugin kubernetes. It is not closed by the server. */
  readonly source?: ClusterSource;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly log?: DnsLog;
  /** Milliseconds that only grow. */
  readonly now?: () => number;
  readonly random?: () => number;
  /** Told of every answer. */
  readonly observe?: (answered: Answered) => void;
  /** Awaited at the end before the sockets close, beside the plugins' own lame-duck time: for queries that are still on their way. */
  readonly drain?: () => Promise<void>;
  /** Told when a plugin ends the server (loop); the caller should close it. */
  readonly failed?: (reason: string) => void;
}

export interface DnsStatus {
  readonly path: string | undefined;
  readonly listeners: readonly ListenerStatus[];
  readonly blocks: readonly { readonly zones: readonly string[]; readonly port: number; readonly plugins: readonly string[] }[];
  /** Plugins that are not ready yet. */
  readonly waiting: readonly string[];
  readonly queries: number;
  /** Queries that wait for another server now. */
  readonly inFlight: number;
  readonly malformed: number;
  /** Why the last reload was refused; undefined if it was not. */
  readonly refused: string | undefined;
}

export interface DnsServer {
  /** Takes another Corefile into force; reads it from the path where no text is given. @throws CorefileError, DnsServeError; the old one stays in force */
  reload(text?: string): Promise<void>;
  status(): DnsStatus;
  readonly metrics: MetricRegistry;
  /** Serves through the lame-duck time, then ends. */
  close(): Promise<void>;
}

/** Milliseconds that queries of a replaced configuration may still take before its plugins stop. */
const DRAIN_MS = 6000;

/** @throws CorefileError, DnsServeError */
export async function startDns(options: DnsOptions): Promise<DnsServer> {
  const server = new Server(options);
  await server.reload(options.corefile);
  return server;
}

class Server implements DnsServer {
  readonly metrics = createMetrics();
  readonly #options: DnsOptions;
  readonly #host: Host;
  readonly #listeners: Listeners;
  readonly #counts: Counts = { queries: 0, waiting: 0, malformed: 0 };
  readonly #draining = new Set<{ readonly timer: NodeJS.Timeout; readonly configuration: Configuration }>();
  #current: Configuration | undefined;
  /** What is being brought in. */
  #next: Configuration | undefined;
  #refused: string | undefined;
  #turn: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: DnsOptions) {
    this.#options = options;
    const network = options.network ?? hostNetwork();
    const now = options.now ?? (() => performance.now());
    this.#listeners = new Listeners(network, this.#counts, { now, log: options.log, observe: options.observe });
    this.#host = {
      network,
      source: options.source,
      metrics: this.metrics,
      log: options.log ?? (() => {}),
      now,
      random: options.random ?? Math.random,
      path: options.path === undefined ? undefined : resolve(options.path),
      resolve: (query) => this.#resolve(query),
      everyInstalled: () => (this.#current?.blocks ?? []).flatMap((block): readonly InstalledPlugin[] => block.installed),
      reload: () => this.#reloadIfChanged(),
      digest: () => (this.#next ?? this.#current)?.digest ?? "",
      fail: (reason) => {
        this.#host.log("error", "", reason);
        options.failed?.(reason);
      },
    };
  }

  /** One after the other: a reload while another is under way waits for it. */
  reload(text?: string): Promise<void> {
    const turn = this.#turn.then(() => this.#load(text ?? this.#read()));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #reloadIfChanged(): Promise<boolean> {
    const text = this.#read();
    if (corefileDigest(text, this.#parseOptions) === this.#current?.digest) return false;
    await this.reload(text);
    return true;
  }

  get #parseOptions(): ParseOptions {
    return { file: this.#host.path ?? "Corefile", environment: this.#options.environment ?? {} };
  }

  #read(): string {
    const { path, corefile } = this.#options;
    if (path === undefined) {
      if (corefile !== undefined) return corefile;
      throw new DnsServeError("dns-no-corefile", "there is no Corefile", { remedy: "name one" });
    }
    try {
      return readFileSync(path, "utf8");
    } catch (error) {
      throw new DnsServeError("dns-no-corefile", `the Corefile cannot be read: ${messageOf(error)}`, { where: path, cause: error });
    }
  }

  async #load(text: string): Promise<void> {
    if (this.#closed) throw new DnsServeError("dns-closed", "the server has ended");
    try {
      const next = readConfiguration(text, this.#parseOptions, this.#host);
      await this.#bringIn(next);
      this.#refused = undefined;
    } catch (error) {
      this.#refused = messageOf(error);
      throw error;
    }
  }

  async #bringIn(next: Configuration): Promise<void> {
    const started: InstalledPlugin[] = [];
    this.#next = next;
    try {
      for (const block of next.blocks) {
        for (const each of block.installed) {
          started.push(each);
          await each.installed.start?.();
        }
      }
      const prepared = await this.#listeners.prepare(next);
      const before = this.#current;
      this.#current = next;
      prepared.commit();
      if (before) this.#drain(before);
    } catch (error) {
      for (const { installed } of started) installed.stop?.();
      throw error;
    } finally {
      this.#next = undefined;
    }
  }

  /** Stops the plugins of a configuration that is no longer in force, once its last queries have had their time. */
  #drain(configuration: Configuration): void {
    const entry = { configuration, timer: setTimeout(() => this.#stop(entry), DRAIN_MS) };
    entry.timer.unref();
    this.#draining.add(entry);
  }

  #stop(entry: { readonly timer: NodeJS.Timeout; readonly configuration: Configuration }): void {
    clearTimeout(entry.timer);
    if (!this.#draining.delete(entry)) return;
    stopPlugins(entry.configuration);
  }

  #resolve(query: Query): Outcome {
    return (
      this.#listeners.responder(query.origin.server)?.resolve(query) ??
      reply("", { rcode: RCODE.SERVFAIL, error: "the server is not up yet" })
    );
  }

  status(): DnsStatus {
    const blocks = this.#current?.blocks ?? [];
    return {
      path: this.#host.path,
      listeners: this.#listeners.status,
      blocks: blocks.map(({ site }) => ({ zones: site.zones, port: site.port, plugins: site.plugins })),
      waiting: blocks.flatMap((block) =>
        block.installed.filter(({ installed }) => installed.ready?.() === false).map(({ plugin }) => plugin),
      ),
      queries: this.#counts.queries,
      inFlight: this.#counts.waiting,
      malformed: this.#counts.malformed,
      refused: this.#refused,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#turn;
    const installed = (this.#current?.blocks ?? []).flatMap((block) => block.installed);
    await Promise.all([this.#options.drain?.(), ...installed.map((each) => each.installed.retire?.())]);
    // What the kernel has taken by now is read and answered.
    await new Promise<void>((resolve) => deadline(0, resolve));
    this.#listeners.close();
    for (const entry of [...this.#draining]) this.#stop(entry);
    if (this.#current) stopPlugins(this.#current);
  }
}

function stopPlugins(configuration: Configuration): void {
  for (const block of configuration.blocks) for (const { installed } of block.installed) installed.stop?.();
}
