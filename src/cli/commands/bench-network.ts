// fairlead bench network: throughput and round trip of each way to connect pods, beside the bare wire and plain forwarding.
import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { FairleadError, textTable } from "../../base/index.ts";
import { benchNetwork, type Measurement, WAYS, type Way } from "../bench/network.ts";
import { plotBars } from "../bench/plot.ts";
import { paint, printJson, startProgress } from "../terminal.ts";
import { number } from "./lab-up.ts";

interface BenchFlags {
  readonly rounds: number;
  readonly seconds: number;
  readonly ways: readonly Way[];
  readonly plot?: string;
  readonly output?: string;
}

export function command(command: Command): void {
  command
    .option("--rounds <number>", "how often each way is measured, in turns", number(1, 100), 3)
    .option("--seconds <number>", "length of each stream", number(1, 600), 3)
    .option("--ways <names>", `which ways: ${WAYS.join(",")}`, waysOf, [...WAYS])
    .option("--plot <file>", "write a picture (SVG)")
    .option("-o, --output <format>", "json for machines")
    .addHelpText(
      "after",
      "\nTwo nodes and two pods in namespaces of their own; iperf3 and ping between the pods. Numbers of one run compare with each\nother; they tell little of other machines, where network cards do part of the work.\n\nExamples:\n  fairlead bench network\n  fairlead bench network --rounds 10 --seconds 5 --plot network.svg\n  fairlead bench network --ways veth,routed -o json\n",
    )
    .action(async (flags: BenchFlags) => {
      if (process.getuid?.() !== 0)
        throw new FairleadError("no-privilege", "the benchmark makes network namespaces and must be root", { remedy: "run it as root" });
      const progress = flags.output === "json" ? undefined : startProgress("setting up");
      const found = await benchNetwork({ ...flags, progress: (text) => progress?.update(text) }).finally(() => progress?.done());
      if (flags.plot !== undefined) writeFileSync(flags.plot, plot(found));
      if (flags.output === "json") printJson({ ways: found });
      else process.stdout.write(`${show(found)}\n`);
    });
}

function waysOf(text: string): readonly Way[] {
  return text.split(",").map((name) => {
    const way = WAYS.find((each) => each === name.trim());
    if (!way) throw new FairleadError("no-such-way", `"${name}" is no way to connect pods`, { remedy: `name some of ${WAYS.join(", ")}` });
    return way;
  });
}

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1] ?? Number.NaN;
}

const gigabits = (bits: number) => `${(bits / 1e9).toFixed(1)} Gb/s`;

function share(found: readonly Measurement[], measurement: Measurement, than: Way): string {
  const base = found.find(({ way }) => way === than);
  if (!base) return "-";
  // Round by round: what the machine did meanwhile hit both.
  const ratios = measurement.throughput.map((each, round) => each / (base.throughput[round] ?? Number.NaN));
  return `${(median(ratios) * 100).toFixed(0)} %`;
}

function show(found: readonly Measurement[]): string {
  return textTable(
    ["WAY", "MTU", "TCP", "OF WIRE", "OF VETH", "ROUND TRIP", "CPU PER GB"],
    found.map((each) => [
      paint.name(each.way),
      String(each.mtu),
      gigabits(median(each.throughput)),
      share(found, each, "wire"),
      share(found, each, "veth"),
      `${(median(each.roundTrip) * 1000).toFixed(0)} µs`,
      `${median(each.cpu).toFixed(2)} s`,
    ]),
    paint.dim,
  );
}

function plot(found: readonly Measurement[]): string {
  const first = found[0]?.way;
  return plotBars(
    "TCP between two pods on two nodes, one stream",
    found.map((each) => {
      const of = first === undefined || each.way === first ? "" : ` (${share(found, each, first)} of ${first})`;
      return { name: each.way, value: median(each.throughput), says: `${gigabits(median(each.throughput))}${of}` };
    }),
  );
}
