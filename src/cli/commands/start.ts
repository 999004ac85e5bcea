// fairlead start: the main job, shown: a lab with the example shop, who reaches whom, and why.
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { FairleadError } from "../../base/index.ts";
import { DEFAULT_NETWORKS, isUp, type LabStatus, type MatrixAnswer } from "../../lab/index.ts";
import { Answer } from "../exit.ts";
import { callLab, endLab, labFlags } from "../lab-client.ts";
import { showMatrix, showProbe, showStatus, showTrace } from "../show.ts";
import { paint } from "../terminal.ts";
import { viewTrace } from "../views.ts";
import { listenForInterruption, nameFlag, raise, type UpFlags, untilAborted } from "./lab-up.ts";
import { readTable } from "./matrix.ts";

const SHOP = fileURLToPath(new URL("../../../examples/shop", import.meta.url));

export function command(command: Command): void {
  labFlags(command)
    .option("--check", "verify the truth table with real packets, then take the lab down: exit status 0 or 1")
    .addHelpText("after", "\nExamples:\n  npm start\n  npm start -- --check\n")
    .action(async (flags: { name: string; check?: boolean }) => {
      const networks = { podCidr: DEFAULT_NETWORKS.podCidrs, serviceCidr: DEFAULT_NETWORKS.serviceCidrs, apiPort: 0 };
      const up: UpFlags = {
        name: flags.name,
        nodes: 3,
        subnets: 1,
        mtu: 1500,
        agents: "inline",
        services: "nftables",
        timeout: 60,
        ...networks,
      };
      if (await isUp(up.name)) {
        throw new FairleadError("lab-exists", `a lab named ${up.name} is up already`, {
          remedy: `fairlead lab down${nameFlag(up)} first, or give --name another name`,
        });
      }
      let met = false;
      const interruption = listenForInterruption();
      try {
        await raise([SHOP], up, interruption.signal);
        met = await show(up);
        if (!flags.check) {
          process.stdout.write(next(up));
          await untilAborted(interruption.signal);
        }
      } finally {
        await endLab(up.name).catch(() => {});
        interruption.close();
      }
      if (!met && flags.check) throw new Answer(1);
    });
}

/** Prints what the lab is and does; true if the truth table is met. */
async function show(flags: UpFlags): Promise<boolean> {
  const write = (text: string) => process.stdout.write(`${text}\n`);
  const heading = (text: string) => write(`\n${paint.bold(text)}\n`);
  heading("The cluster");
  write(showStatus(await callLab<LabStatus>(flags, "status")));

  heading("Who reaches whom, by real packets");
  const file = `${SHOP}/expect.yaml`;
  const shown = await callLab<MatrixAnswer>(flags, "matrix", { onePerWorkload: true, timeoutMs: 1000 }, "trying pairs");
  write(showMatrix(shown.pairs));
  const answer = await callLab<MatrixAnswer>(
    flags,
    "matrix",
    { onePerWorkload: true, timeoutMs: 1000, expect: readTable(file), expectFile: file },
    "checking the truth table",
  );
  const failures = answer.failures ?? [];
  write(failures.length === 0 ? `\n${paint.good("✓")} all ${answer.pairs.length} pairs are as examples/shop/expect.yaml says` : "");
  for (const { pair, expected } of failures) write(`${paint.bad("✗")} expected ${expected}: ${showProbe(pair)}`);

  for (const [title, from, to] of [
    ["A packet that arrives: fairlead trace production/api svc/production/order-svc", "production/api", "svc/production/order-svc"],
    [
      "A packet that does not: fairlead trace monitoring/prometheus production/mysql:3306",
      "monitoring/prometheus",
      "production/mysql:3306",
    ],
  ] as const) {
    heading(title);
    write(showTrace(await viewTrace(flags, { from, to, protocol: "tcp" })));
  }
  return failures.length === 0;
}

function next(flags: UpFlags): string {
  const name = flags.name === "lab" ? "" : ` --name ${flags.name}`;
  const commands = [
    ["bin/fairlead probe production/api production/mysql:3306", "one real attempt"],
    ["bin/fairlead exec production/api -- cat /etc/resolv.conf", "a command inside a pod"],
    ["bin/fairlead lab node node-1 -- ip -d link show flannel.1", "a command on a node"],
    ["KUBECONFIG=$(bin/fairlead lab kubeconfig) kubectl get pods -A -o wide", "kubectl"],
    ["bin/fairlead trace outside node/node-2:30080", "the way in from outside"],
  ] as const;
  const wide = Math.max(...commands.map(([text]) => text.length));
  const lines = commands.map(([text, what]) => `  ${paint.name(text.padEnd(wide))}  ${paint.dim(what)}`);
  return `\n${paint.bold("In another terminal, try")}${name === "" ? "" : ` (with${name})`}\n\n${lines.join("\n")}\n\n${paint.dim("Ctrl-C takes the lab down and leaves nothing behind.")}\n`;
}
