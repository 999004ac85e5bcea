// The words of Calico's selector language, each with its place.

export type TokenKind =
  | "label"
  | "string"
  | "has"
  | "all"
  | "global"
  | "=="
  | "!="
  | "contains"
  | "starts with"
  | "ends with"
  | "in"
  | "not in"
  | "!"
  | "&&"
  | "||"
  | "("
  | ")"
  | "{"
  | "}"
  | ","
  | "end";

export interface Token {
  readonly kind: TokenKind;
  /** A label's name (also of has), or what stands between the quotes. */
  readonly text: string;
  /** Where it begins, in characters from 0. */
  readonly at: number;
}

const LABEL = /[A-Za-z0-9_./-]+/y;
const SYMBOLS: readonly TokenKind[] = ["==", "!=", "&&", "||", "!", "(", ")", "{", "}", ","];
/** An operator of letters stands behind a label alone: elsewhere the same letters are a label. */
const OPERATORS: readonly (readonly [RegExp, TokenKind])[] = [
  [/contains/y, "contains"],
  [/starts[ \t]*with/y, "starts with"],
  [/ends[ \t]*with/y, "ends with"],
  [/not[ \t]*in/y, "not in"],
  [/in/y, "in"],
];
/** No space before the parenthesis: "has (a)" is the label "has". */
const CALLS: readonly (readonly [RegExp, TokenKind])[] = [
  [/has\([ \t]*([A-Za-z0-9_./-]+)[ \t]*\)/y, "has"],
  [/all\([ \t]*\)/y, "all"],
  [/global\([ \t]*\)/y, "global"],
];
const MAX_LABEL = 512;

/** All tokens of a text, the last of which is "end"; or the first place where there is none. */
export function tokenize(text: string): readonly Token[] | { readonly at: number; readonly says: string } {
  const tokens: Token[] = [];
  let at = 0;
  for (;;) {
    while (text[at] === " " || text[at] === "\t") at++;
    if (at >= text.length) {
      tokens.push({ kind: "end", text: "", at });
      return tokens;
    }
    const read = readToken(text, at, tokens.at(-1)?.kind);
    if ("says" in read) return { at: read.at ?? at, says: read.says };
    tokens.push({ kind: read.kind, text: read.text, at });
    at = read.end;
  }
}

type Read = { readonly kind: TokenKind; readonly text: string; readonly end: number } | { readonly at?: number; readonly says: string };

function readToken(text: string, at: number, last: TokenKind | undefined): Read {
  const first = text[at] ?? "";
  if (first === '"' || first === "'") {
    const close = text.indexOf(first, at + 1);
    return close < 0 ? { says: `this ${first} is never closed` } : { kind: "string", text: text.slice(at + 1, close), end: close + 1 };
  }
  const symbol = SYMBOLS.find((each) => text.startsWith(each, at));
  if (symbol) return { kind: symbol, text: symbol, end: at + symbol.length };
  if (first === "=" || first === "&" || first === "|") return { says: `a single ${first} is no operator: write ${first}${first}` };
  if (last === "label") {
    for (const [pattern, kind] of OPERATORS) {
      const found = matchAt(pattern, text, at);
      if (found) return { kind, text: kind, end: at + found[0].length };
    }
    return { says: "after a label an operator is expected: ==, !=, in, not in, contains, starts with, ends with" };
  }
  for (const [pattern, kind] of CALLS) {
    const found = matchAt(pattern, text, at);
    if (found) return tooLong(found[1] ?? "") ?? { kind, text: found[1] ?? "", end: at + found[0].length };
  }
  const call = /(has|all|global)\(/y;
  const opened = matchAt(call, text, at);
  if (opened) return { says: opened[1] === "has" ? "has( takes one label and )" : `${opened[1]}( takes nothing but )` };
  const label = matchAt(LABEL, text, at)?.[0];
  if (label === undefined) return { says: `${JSON.stringify(first)} can't stand here` };
  return tooLong(label) ?? { kind: "label", text: label, end: at + label.length };
}

function tooLong(label: string): Read | undefined {
  return label.length > MAX_LABEL ? { says: `a label has at most ${MAX_LABEL} characters` } : undefined;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}
