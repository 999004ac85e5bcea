// fairlead matrix: who reaches whom.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { FairleadError, messageOf } from "../../base/index.ts";
import type { MatrixAnswer } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";
import { showMatrix, showProbe } from "../show.ts";
import { paint, printJson } from "../terminal.ts";
import { number } from "./lab-up.ts";

interface MatrixFlags extends LabFlags {
  readonly namespace?: string[];
  readonly from?: string[];
  readonly to?: string[];
  readonly port?: string[];
  readonly expect?: string;
  readonly all?: boolean;
  readonly timeout: number;
}

export function command(command: Command): void {
  labFlags(command)
    .option("--namespace <ns...>", "pods of these namespaces only")
    .option("--from <end...>", "only from these")
    .option("--to <end...>", "only to these")
    .option("--port <port...>", "80/TCP, 53/UDP instead of the declared ports")
    .option("--expect <file>", "a truth table (YAML) to check")
    .option("--all", "every pod, not one of each workload")
    .option("--timeout <milliseconds>", "when a pair counts as blocked", number(1, 60_000), 1000)
    .addHelpText(
      "after",
      "\nExit status: 0 as expected, 1 not.\n\nExamples:\n  fairlead matrix --namespace production monitoring\n  fairlead matrix --expect examples/shop/expect.yaml\n",
    )
    .action(async (flags: MatrixFlags) => {
      const answer = await callLab<MatrixAnswer>(
        flags,
        "matrix",
        {
          namespaces: flags.namespace ?? [],
          from: flags.from ?? [],
          to: flags.to ?? [],
          ports: flags.port ?? [],
          onePerWorkload: !flags.all,
          timeoutMs: flags.timeout,
          ...(flags.expect === undefined ? {} : { expect: readTable(flags.expect), expectFile: flags.expect }),
        },
        "trying pairs",
      );
      report(answer, flags.output === "json");
    });
}

/** Reads a truth table's file. @throws FairleadError `bad-expectations` */
export function readTable(file: string): unknown {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new FairleadError("bad-expectations", messageOf(cause), { where: file, cause });
  }
}

/** Prints a matrix; exit status 1 if the truth table was not met. */
export function report(answer: MatrixAnswer, json: boolean): void {
  if (json) printJson(answer);
  else {
    process.stdout.write(`${showMatrix(answer.pairs)}\n`);
    const failures = answer.failures ?? [];
    for (const { pair, expected } of failures) process.stdout.write(`${paint.bad("✗")} expected ${expected}: ${showProbe(pair)}\n`);
    if (answer.failures && failures.length === 0)
      process.stdout.write(`\n${paint.good("✓")} all ${answer.pairs.length} pairs are as the truth table says\n`);
  }
  if ((answer.failures ?? []).length > 0) throw new Answer(1);
}
