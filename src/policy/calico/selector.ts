// Calico's selector language: a text, its meaning, and its one canonical form.
//
//   or    = and {"||" and}            and  = unary {"&&" unary}            unary = {"!"} prim
//   prim  = "has(" id ")" | "all()" | "global()" | "(" or ")"
//         | id ("==" | "!=" | "contains" | "starts with" | "ends with") string | id ("in" | "not in") "{" strings "}"
import { type Token, type TokenKind, tokenize } from "./tokens.ts";

export type Selector =
  | { readonly op: "all" | "global" }
  | { readonly op: "has"; readonly label: string }
  | { readonly op: "and" | "or"; readonly of: readonly Selector[] }
  | { readonly op: "not"; readonly of: Selector }
  | { readonly op: "==" | "!=" | "contains" | "starts with" | "ends with"; readonly label: string; readonly value: string }
  | { readonly op: "in" | "not in"; readonly label: string; readonly values: readonly string[] };

export interface SelectorError {
  /** Where, in characters from 0. */
  readonly at: number;
  readonly says: string;
}

/** Longest text that Calico takes. */
const MAX_LENGTH = 1024;
/** Parentheses and negations within each other, as many as such a text can hold and no stack minds. */
const MAX_DEPTH = 1024;

/** Reads a selector; blank selects all. Total: any text gives a selector or an error with its place. */
export function parseSelector(text: string): { readonly selector: Selector } | { readonly error: SelectorError } {
  if (text.length > MAX_LENGTH) return { error: { at: MAX_LENGTH, says: `it is longer than ${MAX_LENGTH} characters` } };
  const tokens = tokenize(text);
  if (!Array.isArray(tokens)) return { error: tokens as SelectorError };
  if (tokens.length === 1) return { selector: { op: "all" } };
  try {
    const parser = new Parser(tokens as readonly Token[]);
    const selector = parser.or(0);
    parser.expect("end", "&&, || or the end");
    return { selector };
  } catch (error) {
    if (error instanceof Unexpected) return { error: error.what };
    throw error;
  }
}

class Unexpected extends Error {
  readonly what: SelectorError;

  constructor(what: SelectorError) {
    super(what.says);
    this.what = what;
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  or(depth: number): Selector {
    return this.#list("or", "||", () => this.#list("and", "&&", () => this.#unary(depth)));
  }

  #list(op: "and" | "or", between: TokenKind, part: () => Selector): Selector {
    const of = [part()];
    while (this.#take(between)) of.push(part());
    const [only] = of;
    return only && of.length === 1 ? only : { op, of };
  }

  #unary(depth: number): Selector {
    if (depth > MAX_DEPTH) this.#fail(`more than ${MAX_DEPTH} levels`);
    return this.#take("!") ? { op: "not", of: this.#unary(depth + 1) } : this.#primary(depth);
  }

  #primary(depth: number): Selector {
    const token = this.#take("has") ?? this.#take("all") ?? this.#take("global") ?? this.#take("(") ?? this.#take("label");
    switch (token?.kind) {
      case "has":
        return { op: "has", label: token.text };
      case "all":
      case "global":
        return { op: token.kind };
      case "(": {
        const inner = this.or(depth + 1);
        this.expect(")", "&&, || or )");
        return inner;
      }
      case "label":
        return this.#comparison(token.text);
    }
    return this.#fail("a label, has(…), all(), ! or ( is expected here");
  }

  #comparison(label: string): Selector {
    for (const op of ["==", "!=", "contains", "starts with", "ends with"] as const)
      if (this.#take(op)) return { op, label, value: this.expect("string", "a text in quotes").text };
    for (const op of ["in", "not in"] as const) if (this.#take(op)) return { op, label, values: this.#set() };
    return this.#fail("after a label an operator is expected: ==, !=, in, not in, contains, starts with, ends with");
  }

  #set(): readonly string[] {
    this.expect("{", "{");
    const values = new Set<string>();
    while (!this.#take("}")) {
      values.add(this.expect("string", "a text in quotes or }").text);
      if (!this.#take(",")) {
        this.expect("}", ", or }");
        break;
      }
    }
    return [...values].sort();
  }

  #take(kind: TokenKind): Token | undefined {
    const token = this.#tokens[this.#next];
    if (token?.kind !== kind) return undefined;
    this.#next++;
    return token;
  }

  /** The next token, which must be of the kind. @throws Unexpected */
  expect(kind: TokenKind, words: string): Token {
    return this.#take(kind) ?? this.#fail(`${words} is expected here`);
  }

  #fail(says: string): never {
    throw new Unexpected({ at: this.#tokens[this.#next]?.at ?? 0, says });
  }
}

/** The one text that all selectors written alike share: sets sorted and without doubles, joins in parentheses. */
export function formatSelector(selector: Selector): string {
  switch (selector.op) {
    case "all":
    case "global":
      return `${selector.op}()`;
    case "has":
      return `has(${selector.label})`;
    case "not":
      return `!${formatSelector(selector.of)}`;
    case "and":
    case "or":
      return `(${selector.of.map(formatSelector).join(selector.op === "and" ? " && " : " || ")})`;
    case "in":
    case "not in":
      return `${selector.label} ${selector.op} {${selector.values.map(quote).join(", ")}}`;
    default:
      return `${selector.label} ${selector.op} ${quote(selector.value)}`;
  }
}

/** A text holds at most one kind of quotes: it stood in the other. */
function quote(text: string): string {
  return text.includes('"') ? `'${text}'` : `"${text}"`;
}
