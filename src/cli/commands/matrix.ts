// fairlead matrix: who reaches whom.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { parse } from "yaml";
import { FairleadError, messageOf } from "../../base/index.ts";
import { type ClusterSnapshot, parseExpectations, planMatrix, unexpected } from "../../cluster/index.ts";
import type { MatrixAnswer, MatrixParams } from "../../lab/index.ts";
import { predict } from "../../trace/index.ts";
import { Answer } from "../exit.ts";
import { callLab, labFlags } from "../lab-client.ts";
import { showMatrix, showProbe } from "../show.ts";
import { paint, printJson } from "../terminal.ts";
import { type ViewFlags, viewSnapshot } from "../views.ts";
import { number } from "./lab-up.ts";

interface MatrixFlags extends ViewFlags {
  readonly static?: boolean;
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
    .option("--static", "calculate instead of sending packets")
    .option("--manifests <path...>", "calculate from manifests: no lab, no root needed")
    .option("--all", "every pod, not one of each workload")
    .option("--timeout <milliseconds>", "when a pair counts as blocked", number(1, 60_000), 1000)
    .addHelpText(
      "after",
      "\nExit status: 0 as expected, 1 not.\n\nExamples:\n  fairlead matrix --namespace production monitoring\n  fairlead matrix --expect examples/shop/expect.yaml\n  fairlead matrix --static --manifests examples/shop --expect examples/shop/expect.yaml\n",
    )
    .action(async (flags: MatrixFlags) => {
      const params = {
        namespaces: flags.namespace ?? [],
        from: flags.from ?? [],
        to: flags.to ?? [],
        ports: flags.port ?? [],
        onePerWorkload: !flags.all,
        timeoutMs: flags.timeout,
        ...(flags.expect === undefined ? {} : { expect: readTable(flags.expect), expectFile: flags.expect }),
      };
      const calculated = flags.static || flags.manifests !== undefined;
      const answer = calculated
        ? calculate(await viewSnapshot(flags), params)
        : await callLab<MatrixAnswer>(flags, "matrix", params, "trying pairs");
      report(answer, flags.output === "json");
    });
}

/** The matrix by calculation, in the shape of the one by packets. */
function calculate(snapshot: ClusterSnapshot, params: MatrixParams): MatrixAnswer {
  const expectations = params.expect === undefined ? undefined : parseExpectations(params.expect, params.expectFile ?? "expectations");
  const { pairs, expected } = planMatrix(snapshot, params, expectations);
  const results = predict(snapshot, pairs).map((prediction) => {
    const { from, to, port, protocol, verdict } = prediction;
    return {
      from,
      to,
      port,
      protocol,
      verdict,
      server: null,
      sourceSeen: null,
      ms: 0,
      address: to,
      // Put into words only where it is shown.
      get cause() {
        return prediction.reason;
      },
    };
  });
  return expectations ? { pairs: results, failures: unexpected(results, expected) } : { pairs: results };
}

/** Reads a truth table's file. @throws FairleadError `bad-expectations` */
export function readTable(file: string): unknown {
  try {
    return parse(readFileSync(file, "utf8"));
  } catch (cause) {
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    const message = missing ? "no such file" : messageOf(cause).trimEnd();
    throw new FairleadError("bad-expectations", message, { where: file, remedy: missing ? "check the path" : "correct the YAML", cause });
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
