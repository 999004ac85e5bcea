// Services by each mode against their number: connect latency, first sync, one more Service, memory. A table, and plots as SVG.
//
//   fairlead bench services [--modes nftables,iptables] [--counts 1,10,100,1000,10000] [--out DIRECTORY]      as root
//
// Each measurement is a process of its own (services-worker.ts), and compares with 10 Services in the same process.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { textTable } from "../src/base/index.ts";
import { plot } from "./plot.ts";

interface Measured {
  readonly mode: string;
  readonly services: number;
  readonly firstSyncMs: number;
  readonly oneMoreP50Ms: number;
  readonly oneMoreP99Ms: number;
  /** The same in processor time of the thread: what it would be on a machine that nobody else uses. */
  readonly oneMoreCpuP99Ms: number;
  readonly connectUs: number;
  /** To the first ten of them, in turns with the others. */
  readonly connectFewUs: number;
  /** Where there are only ten. */
  readonly connectAt10Us: number;
  /** The same to as many plain addresses, and to ten of them: what it costs by itself to go to many. */
  readonly plainUs: number;
  readonly plainFewUs: number;
  readonly rssMB: number;
}

const { values } = parseArgs({
  options: {
    modes: { type: "string", default: "nftables,iptables" },
    counts: { type: "string", default: "1,10,100,1000,5000,10000,50000" },
    out: { type: "string", default: ".build/bench" },
    json: { type: "boolean", default: false },
  },
});
/** As bin/fairlead starts an agent. */
const AS_AGENT = ["--max-semi-space-size=8"];
const WORKER = fileURLToPath(new URL("services-worker.ts", import.meta.url));
/** Fifty thousand Services in an emulated machine take minutes. */
const LONGEST_MS = 1_200_000;
const measured: Measured[] = [];
const failed: string[] = [];
for (const mode of values.modes.split(","))
  for (const count of values.counts.split(",")) {
    try {
      const options = { encoding: "utf8", timeout: LONGEST_MS, stdio: "pipe" } as const;
      const text = execFileSync(process.execPath, [...AS_AGENT, "--disable-warning=ExperimentalWarning", WORKER, mode, count], options);
      measured.push(JSON.parse(text) as Measured);
    } catch (error) {
      const { stderr } = error as { stderr?: string };
      failed.push(`${mode}, ${count} Services: ${(/^\w*Error: .*/m.exec(stderr ?? "") ?? [String(error)])[0].slice(0, 200)}`);
      break;
    }
  }

const number = (value: number, digits = 1) => value.toFixed(digits);
const rows = measured.map((each) => [
  each.mode,
  String(each.services),
  number(each.connectUs),
  `${number(each.connectUs / each.connectAt10Us, 2)} ×`,
  `${number(each.connectFewUs / each.connectAt10Us, 2)} ×`,
  `${number(each.plainUs / each.plainFewUs, 2)} ×`,
  number(each.firstSyncMs),
  number(each.oneMoreP50Ms, 2),
  number(each.oneMoreP99Ms, 2),
  number(each.oneMoreCpuP99Ms, 2),
  number(each.rssMB, 0),
]);
if (values.json) console.log(JSON.stringify({ measured, failed }));
else {
  console.log(
    textTable(
      [
        "MODE",
        "SERVICES",
        "CONNECT µs",
        "OF 10'S",
        "SAME 10",
        "PLAIN",
        "FIRST SYNC ms",
        "ONE MORE p50 ms",
        "p99 ms",
        "p99 CPU ms",
        "MEMORY MB",
      ],
      rows,
    ),
  );
  for (const failure of failed) console.log(failure);
}
mkdirSync(values.out, { recursive: true });
const modes = [...new Set(measured.map(({ mode }) => mode))];
const draw = (file: string, title: string, y: string, of: (each: Measured) => number) =>
  writeFileSync(
    join(values.out, file),
    plot({
      title,
      x: "Services",
      y,
      lines: modes.map((mode) => ({
        name: mode,
        points: measured.filter((each) => each.mode === mode).map((each) => [each.services, of(each)] as const),
      })),
    }),
  );
if (measured.length > 0) {
  draw("services-connect.svg", "Time of a connect(2) to a Service", "µs, median", (each) => each.connectUs);
  draw("services-first-sync.svg", "First sync", "ms", (each) => each.firstSyncMs);
  draw("services-one-more.svg", "One more Service", "ms, median", (each) => each.oneMoreP50Ms);
  if (!values.json) console.log(`plots: ${values.out}/services-connect.svg, services-first-sync.svg, services-one-more.svg`);
}
process.exitCode = measured.length === 0 ? 1 : 0;
