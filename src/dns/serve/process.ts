// A process that is a DNS server: alone on a machine, or as a pod's container. It serves until it is told to end, and drains first.
//
//   SIGHUP          reads the Corefile again
//   SIGTERM, ^C     goes on answering until nobody asks any more, then ends
//   parent process  asks for the state, or for a look at the Corefile (over Node's message channel, where there is one)
import { messageOf } from "../../base/index.ts";
import type { ClusterSource } from "../../cluster/index.ts";
import type { DnsLog } from "../plugin.ts";
import { type LookupReport, watchLookups } from "./lookup-watch.ts";
import { type DnsServer, type DnsStatus, startDns } from "./start.ts";

export interface DnsProcessOptions {
  /** The Corefile's. */
  readonly path: string;
  readonly source?: ClusterSource;
  /** Without a final dot; names of the search path are known by it. */
  readonly domain: string;
  readonly log: DnsLog;
  /** Changes texts that name files, for a parent that knows them by other names. */
  readonly shown?: (text: string) => string;
  /** Called when it serves. */
  readonly started?: (status: DnsStatus) => void;
}

/** What a parent asks: `look` reads the Corefile again if it has the plugin reload, as that plugin does by itself in a while. */
export interface DnsRequest {
  readonly id: number;
  readonly op: "look" | "report";
}

export interface DnsReport {
  readonly id: number;
  readonly status: DnsStatus;
  readonly lookups: LookupReport;
  /** Prometheus' text format. */
  readonly metrics: string;
}

/**
 * The end, in milliseconds. First the server answers as if nothing were: who balances it has heard of its end, and sends new
 * askers elsewhere. Only if some stay (they go on from one port, which connection tracking remembers) it says that it is not
 * ready, so that these are sent elsewhere too. Saying so at once would cut off questions that are being answered.
 */
const QUIET_MS = 400;
const DRAIN_MS = 3000;
const STAYERS_MS = 2000;
const LOOK_MS = 50;

/** Serves. Resolves with the exit status when it has ended. @throws CorefileError, DnsServeError where it can't begin */
export async function runDns(options: DnsProcessOptions): Promise<number> {
  const { path, source, log } = options;
  let end: (status: number) => void = () => {};
  const ended = new Promise<number>((resolve) => {
    end = resolve;
  });
  let ending = false;
  const begun: { server?: DnsServer; observe?: Parameters<typeof startDns>[0]["observe"] } = {};
  const server = await startDns({
    path,
    ...(source ? { source } : {}),
    environment: process.env,
    log,
    observe: (answered) => begun.observe?.(answered),
    // Beside the plugins' own lame-duck time, when the plugin ready has said no.
    drain: () => quiet(server, STAYERS_MS),
    failed: () => finish(1),
  });
  const watch = watchLookups(options.domain, server.metrics);
  begun.observe = watch.observe;
  const finish = (status: number) => {
    if (ending) return;
    ending = true;
    if (status === 0) log("info", "", "ending: answering until nobody asks any more");
    void quiet(server, status === 0 ? DRAIN_MS : 0)
      .then(() => server.close())
      .then(() => end(status));
  };
  const look = () =>
    server.reload().catch((error: unknown) => log("error", "reload", `${messageOf(error)}; the Corefile before stays in force`));
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => finish(0));
  process.on("SIGHUP", () => void look());
  process.on("message", async (request: DnsRequest) => {
    if (request.op === "look") {
      if (server.status().blocks.some(({ plugins }) => plugins.includes("reload"))) await look();
      else log("warning", "", "the Corefile changed; it has no plugin reload, so it is taken at the next start");
    }
    const status = server.status();
    const refused = status.refused && (options.shown?.(status.refused) ?? status.refused);
    const report: DnsReport = {
      id: request.id,
      status: { ...status, refused },
      lookups: watch.report(),
      metrics: server.metrics.print(),
    };
    process.send?.(report);
  });
  // Whoever started it is gone.
  process.on("disconnect", () => finish(0));
  options.started?.(server.status());
  return ended;
}

/** Resolves when nobody has asked for a while, or after `most` milliseconds. */
async function quiet(server: DnsServer, most: number): Promise<void> {
  let { queries } = server.status();
  let silence = 0;
  for (let waited = 0; waited < most && silence < QUIET_MS; waited += LOOK_MS) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = server.status().queries;
    silence = now === queries ? silence + LOOK_MS : 0;
    queries = now;
  }
}
