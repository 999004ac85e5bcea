// Reads one rule, in the words that our own printer uses, into the rule model.

import { KernelError } from "../errors.ts";
import type { NftElement, NftField, NftMatch, NftRule, NftStatement, NftTarget, NftVerdict } from "../netfilter.ts";
import { dscpNumber } from "../nft/dscp.ts";
import { Tokens, unquoted } from "./nft-tokens.ts";
import { refuse } from "./refuse.ts";

const FIELDS = new Set<string>(
  `ip saddr|ip daddr|ip protocol|ip6 saddr|ip6 daddr|ip6 nexthdr|ip dscp|ip6 dscp|th sport|th dport|tcp sport|tcp dport|tcp flags|udp sport|udp dport
|sctp sport|sctp dport|icmp type|icmp code|icmpv6 type|icmpv6 code|ether saddr|ether daddr|meta l4proto|meta nfproto|meta mark|meta iifname
|meta oifname|meta pkttype|meta ibrname|meta obrname|ct state|ct status|ct mark|ct direction|ct original ip saddr|ct original ip daddr
|ct original ip6 saddr|ct original ip6 daddr|ct original proto-dst|fib daddr type|fib saddr type|fib saddr . iif oif`
    .replaceAll("\n", "")
    .split("|"),
);
const SHORT: Readonly<Record<string, NftField>> = {
  iif: "meta iifname",
  oif: "meta oifname",
  iifname: "meta iifname",
  oifname: "meta oifname",
  ibrname: "meta ibrname",
  obrname: "meta obrname",
};
const OPERATORS = new Set(["==", "!=", "<", ">", "<=", ">="]);

/** Reads up to the end of the line. @returns the rule and its comment as it stands */
export function readRule(tokens: Tokens): { readonly rule: NftRule; readonly comment: string | undefined } {
  const rule: OpenRule = { matches: [], statements: [], comment: undefined };
  while (!tokens.atEnd) readTerm(tokens, rule);
  return finished(rule);
}

/**
 * A rule of somebody else, which may hold what is not understood. What stands before that is kept; the rest is one opaque
 * match, and the verdict at its end.
 */
export function readListedRule(words: readonly string[]): { readonly rule: NftRule; readonly comment: string | undefined } {
  const tokens = new Tokens(words);
  const rule: OpenRule = { matches: [], statements: [], comment: undefined };
  while (!tokens.done) {
    const { place } = tokens;
    const before = [rule.matches.length, rule.statements.length] as const;
    try {
      readTerm(tokens, rule);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      rule.matches.length = before[0];
      rule.statements.length = before[1];
      const text = words.slice(place).join(" ");
      const verdict = /(?:^| )(accept|drop|return|continue|(?:jump|goto) \S+)$/.exec(text)?.[1];
      rule.matches.push({ opaque: verdict === undefined ? text : text.slice(0, -verdict.length).trimEnd() });
      if (verdict !== undefined) rule.statements.push(readVerdict(new Tokens(verdict)));
      break;
    }
  }
  return finished(rule);
}

interface OpenRule {
  readonly matches: NftMatch[];
  readonly statements: NftStatement[];
  comment: string | undefined;
}

function finished({ matches, statements, comment }: OpenRule): { readonly rule: NftRule; readonly comment: string | undefined } {
  return { rule: { matches, statements }, comment };
}

function readTerm(tokens: Tokens, rule: OpenRule): void {
  if (tokens.take("comment")) rule.comment = unquoted(tokens.next());
  else if (isMarkSet(tokens)) rule.statements.push(readMarkSet(tokens));
  else {
    const statement = readStatement(tokens);
    if (statement) rule.statements.push(statement);
    else readFieldTerm(tokens, rule.matches, rule.statements);
  }
}

export function readVerdict(tokens: Tokens): NftVerdict {
  const verdict = tokens.next();
  if (verdict === "accept" || verdict === "drop" || verdict === "continue" || verdict === "return") return { verdict };
  if (verdict === "jump" || verdict === "goto") return { verdict, chain: tokens.next() };
  return refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(verdict)}, expecting a verdict`);
}

function readFieldTerm(tokens: Tokens, matches: NftMatch[], statements: NftStatement[]): void {
  const fields = readFields(tokens);
  if (tokens.take("vmap")) {
    const map = tokens.peek()?.startsWith("@") ? tokens.next().slice(1) : readVmapElements(tokens);
    statements.push({ vmap: { key: fields, map } });
    return;
  }
  if ((fields[0] === "ip dscp" || fields[0] === "ip6 dscp") && tokens.take("set")) {
    const value = tokens.next();
    const number = dscpNumber(value) ?? refuse("EINVAL", `${value} is no DSCP`);
    statements.push({ setDscp: number, ...(fields[0] === "ip6 dscp" ? { family: 6 } : {}) });
    return;
  }
  const op = OPERATORS.has(tokens.peek() ?? "") ? (tokens.next() as "==") : "==";
  const [only] = fields;
  const left = fields.length === 1 && only !== undefined ? only : fields;
  matches.push({ left, op, right: readRight(tokens) });
}

function readRight(tokens: Tokens): string | string[] | { set: string } {
  if (tokens.peek()?.startsWith("@")) return { set: tokens.next().slice(1) };
  if (tokens.take("{")) {
    const list = [readValue(tokens)];
    while (!tokens.take("}")) {
      tokens.expect(",");
      list.push(readValue(tokens));
    }
    return list;
  }
  const list = [readValue(tokens)];
  while (tokens.take(",")) list.push(readValue(tokens));
  return list.length === 1 && list[0] !== undefined ? list[0] : list;
}

function readValue(tokens: Tokens): string {
  return readParts(tokens).join(" . ");
}

/** Parts joined by " . ". */
export function readParts(tokens: Tokens): string[] {
  const parts = [unquoted(tokens.next())];
  while (tokens.take(".")) parts.push(unquoted(tokens.next()));
  return parts;
}

function readVmapElements(tokens: Tokens): NftElement[] {
  tokens.expect("{");
  const elements: NftElement[] = [];
  do {
    const key = readParts(tokens);
    tokens.expect(":");
    elements.push({ key, value: readVerdict(tokens) });
  } while (tokens.take(","));
  tokens.expect("}");
  return elements;
}

function readFields(tokens: Tokens): NftField[] {
  const fields = [readField(tokens)];
  while (tokens.take(".")) fields.push(readField(tokens));
  return fields;
}

function readField(tokens: Tokens): NftField {
  const field = readPlainField(tokens);
  if (tokens.peek() === "&" || tokens.peek() === "and") {
    tokens.next();
    return { field, mask: Number(tokens.next()) };
  }
  return field;
}

function readPlainField(tokens: Tokens): NftField {
  if (tokens.take("(")) {
    const field = readField(tokens);
    tokens.expect(")");
    return field;
  }
  if (tokens.take("numgen")) {
    const numgen = tokens.next() === "random" ? "random" : "inc";
    return { numgen, ...readModulo(tokens) };
  }
  if (tokens.take("jhash")) {
    const jhash = readFields(tokens);
    tokens.expect("mod");
    const mod = Number(tokens.next());
    const seed = tokens.take("seed") ? { seed: Number(tokens.next()) } : {};
    const offset = tokens.take("offset") ? { offset: Number(tokens.next()) } : {};
    return { jhash, mod, ...seed, ...offset };
  }
  const short = SHORT[tokens.peek() ?? ""];
  if (short !== undefined) {
    tokens.next();
    return short;
  }
  for (let length = 5; length >= 2; length--) {
    const words = Array.from({ length }, (_, index) => tokens.peek(index) ?? "");
    const name = words.join(" ");
    if (FIELDS.has(name) && tokens.take(...words)) return name as NftField;
  }
  return refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(tokens.peek())} in a rule`);
}

function readModulo(tokens: Tokens): { mod: number; offset?: number } {
  tokens.expect("mod");
  const mod = Number(tokens.next());
  return tokens.take("offset") ? { mod, offset: Number(tokens.next()) } : { mod };
}

function isMarkSet(tokens: Tokens): boolean {
  return (tokens.peek() === "meta" || tokens.peek() === "ct") && tokens.peek(1) === "mark" && tokens.peek(2) === "set";
}

/** `meta mark set 5`, `meta mark set meta mark & 0xff ^ 0x100` (also with `and`, `xor`, `or`, parentheses), `ct mark set ip saddr map @m`. */
function readMarkSet(tokens: Tokens): NftStatement {
  const which = tokens.next();
  tokens.take("mark", "set");
  if (which === "ct" && tokens.peek(1) !== "mark" && isField(tokens)) {
    const key = readFields(tokens);
    tokens.expect("map");
    return { setCtMarkFrom: { map: readMapName(tokens), key } };
  }
  const words: string[] = [];
  const isPart = (word: string | undefined) =>
    word !== undefined && /^(\(|\)|meta|ct|mark|&|\||\^|and|or|xor|0x[0-9a-f]+|\d+)$/i.test(word);
  while (isPart(tokens.peek()) && !(words.length === 1 && /^(0x)?[0-9a-f]+$/i.test(words[0] ?? ""))) words.push(tokens.next());
  const text = words.filter((word) => word !== "(" && word !== ")").join(" ");
  const match = /^(?:(?:meta|ct) mark (?:(?:&|and) (\S+) ?)?(?:(\^|xor|\||or) (\S+))?|(\S+))$/.exec(text);
  if (!match) return refuse("EINVAL", `syntax error in "mark set ${text}"`);
  const [, maskText, operator, operand, plain] = match;
  const value = Number(plain ?? operand ?? 0);
  let mask = plain === undefined ? Number(maskText ?? 0xffffffff) : undefined;
  if (mask !== undefined && (operator === "|" || operator === "or")) mask = (mask & ~value) >>> 0;
  const set = mask === undefined ? { value } : { value, mask };
  return which === "meta" ? { setMark: set } : { setCtMark: set };
}

function readStatement(tokens: Tokens): NftStatement | undefined {
  switch (tokens.peek()) {
    case "accept":
    case "drop":
    case "continue":
    case "return":
    case "jump":
    case "goto":
      return readVerdict(tokens);
    case "counter":
      tokens.next();
      if (tokens.take("packets")) for (let i = 0; i < 3; i++) tokens.next();
      if (tokens.take("name")) tokens.next();
      return { counter: true };
    case "notrack":
      tokens.next();
      return { notrack: true };
    case "reject":
      return readReject(tokens);
    case "log":
      return readLog(tokens);
    case "masquerade":
      tokens.next();
      return readMasquerade(tokens);
    case "redirect":
      tokens.next();
      return { redirect: tokens.take("to") ? { port: Number(tokens.next().replace(":", "")) } : {} };
    case "snat":
    case "dnat":
      return readNat(tokens);
    case "add":
    case "update":
    case "delete":
      return readUpdate(tokens);
    default:
      return undefined;
  }
}

function readMasquerade(tokens: Tokens): NftStatement {
  const ports = tokens.take("to") ? { ports: tokens.next().replace(":", "") } : {};
  return { masquerade: { ...ports, ...(tokens.take("fully-random") ? { fullyRandom: true } : {}) } };
}

function readReject(tokens: Tokens): NftStatement {
  tokens.next();
  if (!tokens.take("with")) return { reject: "icmpx port-unreachable" };
  if (tokens.take("tcp", "reset")) return { reject: "tcp reset" };
  const family = tokens.next();
  tokens.take("type");
  return { reject: `${family} ${tokens.next()}` as "icmpx port-unreachable" };
}

function readLog(tokens: Tokens): NftStatement {
  tokens.next();
  let log: { prefix?: string; group?: number } = {};
  for (;;) {
    if (tokens.take("prefix")) log = { ...log, prefix: unquoted(tokens.next()) };
    else if (tokens.take("group")) log = { ...log, group: Number(tokens.next()) };
    else return { log };
  }
}

function readNat(tokens: Tokens): NftStatement {
  const kind = tokens.next();
  let family: 4 | 6 | undefined;
  if (tokens.take("ip")) family = 4;
  else if (tokens.take("ip6")) family = 6;
  while (tokens.take("addr") || tokens.take(".") || tokens.take("port"));
  tokens.expect("to");
  const target = readNatTarget(tokens, family);
  return kind === "snat" ? { snat: target } : { dnat: target };
}

function readNatTarget(tokens: Tokens, given: 4 | 6 | undefined): NftTarget {
  const word = tokens.peek() ?? "";
  const fixed = /^(?:\[?([0-9a-f:.]*?)\]?)?(?::(\d+))?$/i.exec(word);
  const v4 = /^(\d+\.\d+\.\d+\.\d+)?(?::(\d+))?$/.exec(word);
  const v6 = /^\[([0-9a-f:.]+)\](?::(\d+))?$/i.exec(word) ?? (word.split(":").length > 2 ? [word, word, undefined] : undefined);
  if (fixed && (v4 || v6)) {
    tokens.next();
    const [, address, port] = v4 ?? v6 ?? [];
    return { family: given ?? (v4 ? 4 : 6), ...(address ? { address } : {}), ...(port ? { port: Number(port) } : {}) };
  }
  const key = readFields(tokens);
  tokens.expect("map");
  return { family: given ?? 4, map: readMapName(tokens), key };
}

function readMapName(tokens: Tokens): string {
  const word = tokens.next();
  if (!word.startsWith("@")) refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(word)}, expecting a named map`);
  return word.slice(1);
}

function readUpdate(tokens: Tokens): NftStatement {
  const mode = tokens.next() as "add" | "update" | "delete";
  const set = tokens.next().slice(1);
  tokens.expect("{");
  const key = readFields(tokens);
  const timeout = tokens.take("timeout") ? { timeout: seconds(tokens.next()) } : {};
  const value: (NftField | { literal: string })[] = [];
  if (tokens.take(":")) {
    do value.push(SHORT[tokens.peek() ?? ""] || isField(tokens) ? readField(tokens) : { literal: unquoted(tokens.next()) });
    while (tokens.take("."));
  }
  tokens.expect("}");
  return { update: { set, key, mode, ...timeout, ...(value.length > 0 ? { value } : {}) } };
}

function isField(tokens: Tokens): boolean {
  return [2, 3, 4, 5].some((length) => FIELDS.has(Array.from({ length }, (_, index) => tokens.peek(index)).join(" ")));
}

/** "3h2m10s" or "10800s" or "10800" in seconds. */
export function seconds(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  const units: Readonly<Record<string, number>> = { d: 86400, h: 3600, m: 60, s: 1 };
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+)([dhms])/g)) total += Number(amount) * (units[unit ?? "s"] ?? 1);
  return total;
}
