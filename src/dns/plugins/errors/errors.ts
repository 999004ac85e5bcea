// Tells the log of every answer that went wrong; many alike may be told as one line with their number.
import { typeName } from "../../message.ts";
import type { Answered, DnsLog } from "../../plugin.ts";

export interface Consolidation {
  readonly milliseconds: number;
  readonly pattern: RegExp;
  readonly level: "info" | "warning" | "error";
  /** Tells the first of a period at once. */
  readonly showFirst: boolean;
}

export interface ErrorLog {
  observe(answered: Answered): void;
  start(): void;
  stop(): void;
}

export function createErrorLog(consolidations: readonly Consolidation[], log: DnsLog): ErrorLog {
  const counts = consolidations.map(() => 0);
  const timers: NodeJS.Timeout[] = [];
  const tell = (index: number) => {
    const { level, pattern, milliseconds } = consolidations[index] as Consolidation;
    const count = counts[index] ?? 0;
    counts[index] = 0;
    if (count > 0) log(level, "errors", `${count} errors like '${pattern.source}' occurred in last ${milliseconds / 1000}s`);
  };
  return {
    observe({ query, reply }) {
      if (reply.error === undefined) return;
      const index = consolidations.findIndex(({ pattern }) => pattern.test(reply.error ?? ""));
      const consolidation = consolidations[index];
      if (consolidation) counts[index] = (counts[index] ?? 0) + 1;
      if (consolidation && !(consolidation.showFirst && counts[index] === 1)) return;
      log(consolidation?.level ?? "error", "errors", `${reply.rcode} ${query.spelled} ${typeName(query.type)}: ${reply.error}`);
    },
    start() {
      for (const [index, { milliseconds }] of consolidations.entries()) timers.push(setInterval(() => tell(index), milliseconds).unref());
    },
    stop() {
      for (const timer of timers) clearInterval(timer);
      for (const index of consolidations.keys()) tell(index);
    },
  };
}
