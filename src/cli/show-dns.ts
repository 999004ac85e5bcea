// How a look-up and the state of DNS servers look in a terminal.
import { textTable } from "../base/index.ts";
import type { ToldQuery, ToldQuestion } from "../dns/index.ts";
import type { DnsSummary, ServerSummary } from "./dns-summary.ts";
import { paint } from "./terminal.ts";

/** The questions in order, the outcome, and what would ask for less. */
export function showQuery(told: ToldQuery): string {
  const { resolvConf: conf, questions } = told;
  const options = conf.options.map(([name, value]) => (value === undefined ? name : `${name}:${value}`));
  const lines = [
    `${paint.bold(told.name)} from ${paint.name(told.from)}, as ${told.resolver} looks it up${told.calculated ? paint.dim("  by calculation: nothing was sent") : ""}`,
    paint.dim(
      `  nameserver ${conf.nameservers.join(" ")}   search ${conf.searches.join(" ") || "-"}   options ${options.join(" ") || "-"}`,
    ),
  ];
  if (told.local !== null) return [...lines, "", `${told.addresses.join(", ")}: ${told.local}`].join("\n");
  const rows = questions.map((each, index) => [
    String(index + 1),
    nameOf(each),
    each.type,
    each.transport === "tcp" ? `${each.server} tcp` : each.server,
    answerOf(each),
    each.ms === null || told.calculated ? "-" : `${each.ms} ms`,
    each.by === null ? "-" : each.plugin === null ? each.by : `${each.by} ${paint.dim(each.plugin)}`,
    each.says ?? "",
  ]);
  const table = textTable(["", "QUESTION", "TYPE", "ASKED", "ANSWER", "TIME", "BY", "FROM"], rows, paint.dim);
  return [...lines, "", table, "", outcomeOf(told), ...savingsOf(told)].join("\n");
}

/** The name, with the element of the search path that was added set apart. */
function nameOf({ name, search, again }: ToldQuestion): string {
  const mark = again ? paint.warn(" (again)") : "";
  const tail = search === null ? "" : `${search.replace(/\.$/, "")}.`;
  if (search === null || !name.endsWith(tail)) return `${name}${mark}`;
  return `${name.slice(0, -tail.length)}${paint.dim(tail)}${mark}`;
}

function answerOf({ rcode, answers }: ToldQuestion): string {
  if (rcode === null) return paint.bad("no answer");
  if (rcode !== "NOERROR") return rcode === "NXDOMAIN" ? paint.warn(rcode) : paint.bad(rcode);
  return answers.length > 0 ? paint.good(answers.join(", ")) : paint.warn("no data");
}

const OUTCOMES: Readonly<Record<Exclude<ToldQuery["outcome"], "found">, string>> = {
  "no-name": "the name does not exist (EAI_NONAME)",
  "no-data": "the name exists, but has no such records (EAI_NODATA)",
  "try-again": "no server answered usably (EAI_AGAIN)",
  failed: "a server refused or failed (EAI_FAIL)",
};

function outcomeOf(told: ToldQuery): string {
  const count = `${told.questions.length} question${told.questions.length === 1 ? "" : "s"}${told.calculated ? "" : `, ${told.ms} ms`}`;
  if (told.outcome !== "found") return `${paint.bad(OUTCOMES[told.outcome])}: ${count}`;
  const addresses = told.addresses.length > 0 ? `: ${told.addresses.join(", ")}` : "";
  return `found as ${paint.good(told.found ?? "")}${addresses} after ${count}`;
}

function savingsOf({ alternatives, questions }: ToldQuery): string[] {
  const others = alternatives.filter(({ way }) => way !== "as configured");
  if (others.length === 0) return [];
  const says = (way: string, change: string) => {
    if (way === "trailing dot") return `ask for ${paint.name(change)}, with the dot at its end`;
    if (way === "ndots") return `dnsConfig.options ${paint.name(change)} in the pod`;
    return `plugin ${paint.name(change)} in the Corefile, with pods verified`;
  };
  return [
    "",
    paint.dim("fewer questions:"),
    ...others.map(({ way, change, questions: count }) => `  ${count} instead of ${questions.length}: ${says(way, change)}`),
  ];
}

/** Servers, what they answer, what goes wrong. */
export function showDnsStatus({ servers, problems }: DnsSummary): string {
  const rows = servers.map((each) => [
    paint.name(each.server),
    each.node,
    each.answers
      ? each.waiting.length > 0
        ? paint.warn(`waits for ${each.waiting.join(", ")}`)
        : paint.good("serves")
      : paint.bad("does not answer"),
    each.rate === null ? "-" : `${each.rate}/s`,
    String(each.queries),
    each.milliseconds === null ? "-" : `${each.milliseconds.median} / ${each.milliseconds.slow} ms`,
    each.cache === null ? "-" : percent(each.cache.hitRatio),
    rcodesOf(each),
  ]);
  const table = textTable(["SERVER", "NODE", "STATE", "RATE", "QUERIES", "MEDIAN / P99", "CACHE HITS", "ANSWERS"], rows, paint.dim);
  const upstreams = servers.flatMap((each) =>
    each.upstreams.map((upstream) => [
      paint.name(upstream.to),
      each.server,
      String(upstream.requests),
      upstream.milliseconds === null ? "-" : `${upstream.milliseconds.median} / ${upstream.milliseconds.slow} ms`,
      upstream.failures > 0 ? paint.bad(`${upstream.failures} failed checks`) : paint.good("healthy"),
    ]),
  );
  const upstreamTable =
    upstreams.length > 0 ? ["", textTable(["UPSTREAM", "ASKED BY", "REQUESTS", "MEDIAN / P99", "HEALTH"], upstreams, paint.dim)] : [];
  const lookups = servers.flatMap((each) => [
    ...each.failing.map((lookup) => ["failing", lookup.name, String(lookup.count), lookup.detail, lookup.from]),
    ...each.slow.map((lookup) => ["slow", lookup.name, String(lookup.count), lookup.detail, lookup.from]),
    ...each.amplified.map((lookup) => ["amplified", lookup.name, String(lookup.count), "by the search path", lookup.from]),
  ]);
  const lookupTable = lookups.length > 0 ? ["", textTable(["LOOK-UPS", "NAME", "TIMES", "WHAT", "LAST ASKED BY"], lookups, paint.dim)] : [];
  return [table, ...upstreamTable, ...lookupTable, ...problems.map((problem) => `${paint.warn("!")} ${problem}`)].join("\n");
}

function rcodesOf({ rcodes }: ServerSummary): string {
  return Object.entries(rcodes)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}

function percent(ratio: number): string {
  return `${Math.round(ratio * 100)} %`;
}
