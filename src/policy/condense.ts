// Many rules of one verdict in a row as a few look-ups, so that a packet pays the same for a thousand policies as for one.
//
//   saddr @peer-a return                        ─┐
//   saddr @peer-b return                         ├▶ saddr @many-… return                     (single addresses; blocks beside)
//   saddr @peer-a tcp dport 80 return           ─┤
//   saddr @peer-c tcp dport { 80, 443 } return   ├▶ saddr . l4proto . dport @many-… return
//   saddr @peer-d tcp dport 8000-8100 return    ─┴▶ as it is: one look-up for each distinct range; of blocks, for each protocol
//
// Within a row the order says nothing about the verdict. Whose rule decides is on the element: of two, the first.
import type { Family } from "../base/index.ts";
import type { NftChain, NftElement, NftField, NftMatch, NftRule, NftSet, NftType, NftVerdict } from "../kernel/index.ts";
import { firstCovering, type OwnedInterval } from "./intervals.ts";
import { hashOf } from "./peer-sets.ts";

/** Rules in a row that are few are left as they are: they share their sets with other chains. */
const FEW = 16;
/** More elements than this are not copied for one chain. */
const MOST_ELEMENTS = 65_536;

export interface Condensed {
  readonly chains: readonly NftChain[];
  /** Those that the chains refer to. */
  readonly sets: readonly NftSet[];
}

interface Kept {
  readonly on: readonly (NftSet | undefined)[];
  readonly chain: NftChain;
  readonly sets: readonly NftSet[];
}

const kept = new WeakMap<NftChain, Kept>();

/** The chains with what is many condensed, and the sets that are needed then. */
export function condense(chains: readonly NftChain[], sets: readonly NftSet[]): Condensed {
  const byName = new Map(sets.map((set) => [set.name, set]));
  const made: NftSet[] = [];
  const needed = new Set<string>();
  const result = chains.map((chain) => {
    const { chain: smaller, sets: own } = condenseChain(chain, byName);
    made.push(...own);
    for (const name of setNames(smaller)) needed.add(name);
    return smaller;
  });
  return { chains: result, sets: [...sets.filter(({ name }) => needed.has(name)), ...made] };
}

const namesKept = new WeakMap<NftChain, readonly string[]>();

/** Names of the sets that the rules look into. */
function setNames(chain: NftChain): readonly string[] {
  let names = namesKept.get(chain);
  if (!names) {
    names = chain.rules.flatMap(({ matches }) =>
      matches.flatMap((match) =>
        "opaque" in match || typeof match.right !== "object" || !("set" in match.right) ? [] : [match.right.set],
      ),
    );
    namesKept.set(chain, names);
  }
  return names;
}

function condenseChain(chain: NftChain, sets: ReadonlyMap<string, NftSet>): Kept {
  const before = kept.get(chain);
  if (before?.on.every((set) => set === undefined || sets.get(set.name) === set)) return before;
  const own: NftSet[] = [];
  const rules: NftRule[] = [];
  for (const [at, row] of rowsOf(chain.rules).entries()) {
    const fewer = row.length > FEW ? condenseRow(row, { sets, name: `${chain.name} ${at}` }) : undefined;
    rules.push(...(fewer?.rules ?? row));
    own.push(...(fewer?.sets ?? []));
  }
  const result = { on: setNames(chain).map((name) => sets.get(name)), chain: own.length > 0 ? { ...chain, rules } : chain, sets: own };
  kept.set(chain, result);
  return result;
}

/** Rules behind each other that do the same and nothing else. */
function rowsOf(rules: readonly NftRule[]): NftRule[][] {
  const rows: NftRule[][] = [];
  let last = "";
  for (const rule of rules) {
    const [statement] = rule.statements;
    const does = rule.statements.length === 1 && statement && "verdict" in statement ? verdictText(statement) : "";
    if (does !== "" && does === last) rows.at(-1)?.push(rule);
    else rows.push([rule]);
    last = does;
  }
  return rows;
}

function verdictText(verdict: NftVerdict): string {
  return "chain" in verdict ? `${verdict.verdict} ${verdict.chain}` : verdict.verdict;
}

/** What a rule asks, where that can be joined with others' questions. */
interface Question {
  readonly field: NftField;
  readonly family: Family;
  readonly set: NftSet;
  readonly protocol?: string;
  /** Single ports. */
  readonly ports?: readonly string[];
  /** The two matches as they are, where there are ranges among the ports. */
  readonly ranges?: readonly NftMatch[];
  readonly rule: NftRule;
}

interface RowContext {
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly name: string;
}

function condenseRow(
  row: readonly NftRule[],
  context: RowContext,
): { readonly rules: readonly NftRule[]; readonly sets: readonly NftSet[] } | undefined {
  const left: NftRule[] = [];
  const groups = new Map<string, Question[]>();
  let size = 0;
  for (const rule of row) {
    const question = readQuestion(rule, context.sets);
    if (!question) {
      left.push(rule);
      continue;
    }
    const { field, set, protocol, ports, ranges } = question;
    size += set.elements.length * (ports?.length ?? 1);
    // A set for each protocol: libnftables before 1.1 turns its one byte around in intervals, which Linux 7 refuses.
    const asked = isInterval(set) ? `${protocol} ports` : "ports";
    const shape = ranges ? JSON.stringify(ranges) : ports ? asked : "";
    const key = `${String(field)} ${isInterval(set) ? "blocks" : ""} ${shape}`;
    const group = groups.get(key);
    if (group) group.push(question);
    else groups.set(key, [question]);
  }
  if (row.length - left.length <= FEW || size > MOST_ELEMENTS) return undefined;
  const sets: NftSet[] = [];
  const rules = [...groups].flatMap(([key, group]): NftRule[] => {
    const [first] = group;
    if (!first) return [];
    if (group.length === 1 && !first.ports) return [first.rule];
    const set = joinGroup(`many${first.family}-${hashOf(`${context.name} ${key}`)}`, first, group);
    sets.push(set);
    return [{ matches: [...questionOf(first, set), ...(first.ranges ?? [])], statements: first.rule.statements }];
  });
  return { rules: [...rules, ...left], sets };
}

/** Fields that ask for the protocol, too. */
const PORT_OF: ReadonlyMap<string, NftField> = new Map([
  ["tcp", "tcp dport"],
  ["udp", "udp dport"],
  ["sctp", "sctp dport"],
]);

/** How a packet is looked up in the set of a group like this one. */
function questionOf({ field, protocol = "", ports }: Question, set: NftSet): NftMatch[] {
  const right = { set: set.name };
  if (!ports) return [{ left: field, op: "==", right }];
  if (!isInterval(set)) return [{ left: [field, "meta l4proto", "th dport"], op: "==", right }];
  return [{ left: [field, PORT_OF.get(protocol) ?? "th dport"], op: "==", right }];
}

function isInterval(set: NftSet): boolean {
  return set.flags?.includes("interval") ?? false;
}

function readQuestion(rule: NftRule, sets: ReadonlyMap<string, NftSet>): Question | undefined {
  const [who, protocol, port, more] = rule.matches;
  if (!who || more || "opaque" in who || who.op !== "==" || typeof who.left !== "string") return undefined;
  const family = /^ip [sd]addr$/.test(who.left) ? 4 : /^ip6 [sd]addr$/.test(who.left) ? 6 : undefined;
  const set = typeof who.right === "object" && "set" in who.right ? sets.get(who.right.set) : undefined;
  if (!family || !set) return undefined;
  const question = { field: who.left, family, set, rule } as const;
  if (!protocol && !port) return question;
  if (!protocol || !port || "opaque" in protocol || "opaque" in port) return undefined;
  if (protocol.left !== "meta l4proto" || protocol.op !== "==" || typeof protocol.right !== "string") return undefined;
  if (port.left !== "th dport" || port.op !== "==") return undefined;
  const ports = typeof port.right === "string" ? [port.right] : "set" in port.right ? undefined : port.right;
  if (!ports) return undefined;
  const single = ports.every((each) => /^\d+$/.test(each));
  if (single && isInterval(set) && !PORT_OF.has(protocol.right)) return undefined;
  return single ? { ...question, protocol: protocol.right, ports } : { ...question, ranges: [protocol, port] };
}

/** One set for all that a group asks. */
function joinGroup(name: string, { family, set, ports }: Question, group: readonly Question[]): NftSet {
  const address: NftType = family === 4 ? "ipv4_addr" : "ipv6_addr";
  if (!isInterval(set)) return { name, key: ports ? [address, "inet_proto", "inet_service"] : [address], elements: singles(group) };
  const key: readonly NftType[] = ports ? [address, "inet_service"] : [address];
  // Intervals of one set must not overlap: for each port they are made disjoint.
  const byPort = new Map<string, OwnedInterval<NftRule>[]>();
  for (const { set: blocks, ports: its = [""], rule } of group)
    for (const port of its) {
      const list = byPort.get(port) ?? [];
      for (const element of blocks.elements) list.push({ text: element.key[0] ?? "", owner: rule });
      byPort.set(port, list);
    }
  const elements = [...byPort].flatMap(([port, blocks]) =>
    firstCovering(blocks, family).map(
      ({ text, owner: { owner } }): NftElement => ({ key: [text, ...(port === "" ? [] : [port])], ...(owner ? { owner } : {}) }),
    ),
  );
  return { name, key, flags: ["interval"], elements };
}

function singles(group: readonly Question[]): NftElement[] {
  const elements = new Map<string, NftElement>();
  for (const { set, protocol = "", ports = [""], rule } of group)
    for (const { key } of set.elements)
      for (const port of ports) {
        const whole = port === "" ? key : [...key, protocol, port];
        const text = whole.join(" ");
        if (!elements.has(text)) elements.set(text, { key: whole, ...(rule.owner ? { owner: rule.owner } : {}) });
      }
  return [...elements.values()];
}
