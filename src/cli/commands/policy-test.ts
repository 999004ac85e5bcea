// fairlead policy test: truth tables against manifests or a lab, reported in CI's own formats.
import { type Command, Option } from "commander";
import { parseExpectations, planMatrix } from "../../cluster/index.ts";
import { predict } from "../../trace/index.ts";
import { Answer } from "../exit.ts";
import { labFlags } from "../lab-client.ts";
import { printJson } from "../terminal.ts";
import { type CaseResult, reportJunit, reportTap, reportText, type Suite } from "../test-report.ts";
import { type ViewFlags, viewSnapshot } from "../views.ts";
import { readTable } from "./matrix.ts";

const FORMATS = { text: reportText, junit: reportJunit, tap: reportTap } as const;

export function command(command: Command): void {
  labFlags(command)
    .argument("<table...>", "truth tables (YAML), as for fairlead matrix --expect")
    .option("--manifests <path...>", "from manifests: no lab, no root needed")
    .option("--kubeconfig <file>", "from another cluster")
    .addOption(new Option("--format <format>", "how to report").choices(Object.keys(FORMATS)).default("text"))
    .addHelpText(
      "after",
      "\nBy calculation; real packets: fairlead matrix --expect. Exit status: 0 all as expected, 1 not.\n\nExamples:\n  fairlead policy test examples/shop/expect.yaml --manifests examples/shop\n  fairlead policy test tables/*.yaml --manifests manifests/ --format junit > report.xml\n",
    )
    .action(async (tables: string[], flags: ViewFlags & { format: keyof typeof FORMATS }) => {
      const snapshot = await viewSnapshot(flags);
      const suites = tables.map((file): Suite => {
        const { pairs, expected } = planMatrix(snapshot, { onePerWorkload: true }, parseExpectations(readTable(file), file));
        const cases = predict(snapshot, pairs).map((prediction, index): CaseResult => {
          const wanted = expected[index] ?? "connected";
          const { from, to, port, protocol, verdict, reason } = prediction;
          return {
            name: `${from} → ${to}:${port}/${protocol} is ${wanted}`,
            passed: (verdict === "connected") === (wanted === "connected"),
            says: `${verdict}: ${reason}`,
          };
        });
        return { name: file, cases };
      });
      if (flags.output === "json") printJson({ suites });
      else process.stdout.write(`${FORMATS[flags.format](suites)}\n`);
      if (suites.some(({ cases }) => cases.some(({ passed }) => !passed))) throw new Answer(1);
    });
}
