// One rule of iptables in iptables-save's own words, and when two such texts say the same.

/** The words of a rule or command; quotes hold a word together, a backslash the next character. */
export function splitWords(text: string): string[] {
  const words: string[] = [];
  for (const [, quoted, plain] of text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g))
    words.push(quoted === undefined ? (plain ?? "") : quoted.replace(/\\(.)/g, "$1"));
  return words;
}

const STARTS_GROUP = new Set(["-m", "-j", "-g", "-s", "-d", "-p", "-i", "-o", "-f"]);

/** The options of a rule by group: "-s 10.0.0.0/8", "-m tcp --dport 80", "-j DNAT --to-destination …"; "!" stands before its option. */
export function splitGroups(words: readonly string[]): string[][] {
  const groups: string[][] = [];
  let group: string[] = [];
  for (const [at, word] of words.entries()) {
    const starts = STARTS_GROUP.has(word) ? words[at - 1] !== "!" : word === "!" && STARTS_GROUP.has(words[at + 1] ?? "");
    if (starts || groups.length === 0) {
      group = [];
      groups.push(group);
    }
    group.push(word);
  }
  return groups;
}

/** The kernel keeps a probability as 31 bits (xt_statistic.h). */
const PROBABILITY_UNITS = 0x8000_0000;

/**
 * A text that is the same for two rules exactly where they do the same: iptables lists matches in an order of its own, and
 * a probability as the kernel rounds it.
 */
export function canonicalRule(rule: string): string {
  return splitGroups(splitWords(rule))
    .map((group) => group.map((word, at) => (group[at - 1] === "--probability" ? String(unitsOf(word)) : word)).join(" "))
    .sort()
    .join("\n");
}

function unitsOf(probability: string): number {
  return Math.round(Number(probability) * PROBABILITY_UNITS);
}

/** Chain that a rule jumps or goes to; undefined for other targets' rules as well as for those without one. */
export function targetOf(rule: string): string | undefined {
  const at = Math.max(rule.lastIndexOf(" -j "), rule.lastIndexOf(" -g "));
  const rest = at >= 0 ? rule.slice(at + 4) : /^-[jg] /.test(rule) ? rule.slice(3) : undefined;
  return rest?.split(" ", 1)[0];
}
