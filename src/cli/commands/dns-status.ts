// fairlead dns status: the DNS servers, what they answer, and which look-ups fail, are slow, or are made in vain.
import type { Command } from "commander";
import { FairleadError, messageOf } from "../../base/index.ts";
import type { DnsPodReport } from "../../lab/index.ts";
import { type Look, summarize } from "../dns-summary.ts";
import { Answer } from "../exit.ts";
import { callLab, type LabFlags, labFlags } from "../lab-client.ts";
import { showDnsStatus } from "../show-dns.ts";
import { printJson } from "../terminal.ts";
import { number } from "./lab-up.ts";

interface StatusFlags extends LabFlags {
  readonly seconds: number;
  readonly url?: readonly string[];
}

export function command(command: Command): void {
  labFlags(command)
    .option("--seconds <number>", "how long to look, for the rate", number(1, 3600), 1)
    .option("--url <url...>", "metrics of servers anywhere, CoreDNS's too: http://10.244.0.5:9153/metrics")
    .addHelpText(
      "after",
      "\nExit status: 0 all well, 1 there is a problem.\n\nExamples:\n  fairlead dns status\n  fairlead dns status --seconds 10 -o json\n  fairlead dns status --url http://127.0.0.1:9153/metrics\n",
    )
    .action(async (flags: StatusFlags) => {
      const look = () => (flags.url ? Promise.all(flags.url.map(fetchLook)) : lookAtLab(flags));
      const first = await look();
      await new Promise((resolve) => setTimeout(resolve, flags.seconds * 1000));
      const summary = summarize(await look(), first, flags.seconds);
      if (flags.output === "json") printJson(summary);
      else process.stdout.write(`${showDnsStatus(summary)}\n`);
      if (summary.problems.length > 0) throw new Answer(1);
    });
}

async function lookAtLab(flags: LabFlags): Promise<Look[]> {
  const reports = await callLab<DnsPodReport[]>(flags, "dnsReports");
  if (reports.length === 0)
    throw new FairleadError("no-dns", "no DNS server runs in this lab", { remedy: "kubectl -n kube-system get deployment coredns" });
  return reports.map(({ pod, node, report }) => ({ server: pod, node, metrics: report?.metrics, ...(report ? { report } : {}) }));
}

async function fetchLook(url: string): Promise<Look> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
    return { server: new URL(url).host, node: "", metrics: answer.ok ? await answer.text() : undefined };
  } catch (cause) {
    if (cause instanceof TypeError && !URL.canParse(url))
      throw new FairleadError("bad-url", `"${url}" is no URL`, { remedy: "write it like http://10.244.0.5:9153/metrics", cause });
    process.stderr.write(`${url}: ${messageOf(cause)}\n`);
    return { server: new URL(url).host, node: "", metrics: undefined };
  }
}
