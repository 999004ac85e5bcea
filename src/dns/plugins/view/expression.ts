// The expressions of the plugin view: comparisons, logic, arithmetic and texts over functions of a query.
//
//   or, ||   and, &&   not, !   == != < <= > >= in, not in, contains, startsWith, endsWith, matches   + -   * / %   f(x)
import { messageOf } from "../../../base/index.ts";

export type Value = boolean | number | string | readonly Value[];
export type Functions = Readonly<Record<string, (...values: readonly Value[]) => Value>>;
export type Evaluate = (functions: Functions) => Value;

/** What is wrong in an expression, or in what it was applied to. */
export class ExpressionError extends Error {}

/** How deep parentheses may go: expressions come from a file, and none needs more. */
const MAX_DEPTH = 100;

/** @throws ExpressionError at once for what is no expression over these functions */
export function compileExpression(text: string, functions: readonly string[]): Evaluate {
  const parser = new Parser(tokensOf(text), new Set(functions));
  const evaluate = parser.expression();
  parser.expectEnd();
  return evaluate;
}

interface Token {
  readonly kind: "number" | "string" | "word" | "sign";
  readonly text: string;
}

const TOKEN = /\s*(?:(\d+(?:\.\d+)?)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([A-Za-z_]\w*)|(==|!=|<=|>=|&&|\|\||[<>!()[\],+\-*/%]))/y;

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (text.slice(TOKEN.lastIndex).trim() !== "") {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (!match) throw new ExpressionError(`"${text.slice(at).trim()}" is no part of an expression`);
    const [, number, string, word, sign] = match;
    if (number !== undefined) tokens.push({ kind: "number", text: number });
    else if (string !== undefined) tokens.push({ kind: "string", text: unescaped(string.slice(1, -1)) });
    else if (word !== undefined) tokens.push({ kind: "word", text: word });
    else tokens.push({ kind: "sign", text: sign ?? "" });
  }
  return tokens;
}

function unescaped(text: string): string {
  return text.replace(/\\(.)/g, (_whole, character: string) => (character === "n" ? "\n" : character === "t" ? "\t" : character));
}

type Combine = (left: Value, right: Value) => Value;

const COMPARISONS: Readonly<Record<string, Combine>> = {
  "==": (left, right) => left === right,
  "!=": (left, right) => left !== right,
  "<": (left, right) => ordered(left, right) < 0,
  "<=": (left, right) => ordered(left, right) <= 0,
  ">": (left, right) => ordered(left, right) > 0,
  ">=": (left, right) => ordered(left, right) >= 0,
  in: (left, right) => list(right).includes(left),
  contains: (left, right) => string(left).includes(string(right)),
  startsWith: (left, right) => string(left).startsWith(string(right)),
  endsWith: (left, right) => string(left).endsWith(string(right)),
  matches: (left, right) => regular(string(right)).test(string(left)),
};
const SUMS: Readonly<Record<string, Combine>> = {
  "+": (left, right) => (typeof left === "string" ? left + string(right) : number(left) + number(right)),
  "-": (left, right) => number(left) - number(right),
};
const PRODUCTS: Readonly<Record<string, Combine>> = {
  "*": (left, right) => number(left) * number(right),
  "/": (left, right) => number(left) / number(right),
  "%": (left, right) => number(left) % number(right),
};

class Parser {
  readonly #tokens: readonly Token[];
  readonly #functions: ReadonlySet<string>;
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[], functions: ReadonlySet<string>) {
    this.#tokens = tokens;
    this.#functions = functions;
  }

  expression(): Evaluate {
    if (++this.#depth > MAX_DEPTH) throw new ExpressionError("the expression is nested too deep");
    let left = this.#conjunction();
    while (this.#takes("or", "||")) {
      const [first, second] = [left, this.#conjunction()];
      left = (functions) => boolean(first(functions)) || boolean(second(functions));
    }
    this.#depth--;
    return left;
  }

  expectEnd(): void {
    const rest = this.#tokens[this.#at];
    if (rest) throw new ExpressionError(`"${rest.text}" is too much in this expression`);
  }

  #conjunction(): Evaluate {
    let left = this.#negation();
    while (this.#takes("and", "&&")) {
      const [first, second] = [left, this.#negation()];
      left = (functions) => boolean(first(functions)) && boolean(second(functions));
    }
    return left;
  }

  #negation(): Evaluate {
    let negated = false;
    while (this.#takes("not", "!")) negated = !negated;
    const inner = this.#comparison();
    return negated ? (functions) => !boolean(inner(functions)) : inner;
  }

  #comparison(): Evaluate {
    const left = this.#binary(SUMS, () => this.#binary(PRODUCTS, () => this.#operand()));
    const negated = this.#peek("not") && this.#tokens[this.#at + 1]?.text === "in";
    if (negated) this.#at++;
    const operator = this.#tokens[this.#at];
    const combine =
      operator && operator.kind !== "string" && Object.hasOwn(COMPARISONS, operator.text) ? COMPARISONS[operator.text] : undefined;
    if (!combine) return left;
    this.#at++;
    // A pattern that stands in the expression is read once, and refused at once.
    const pattern = this.#tokens[this.#at];
    if (operator?.text === "matches" && pattern?.kind === "string") regular(pattern.text);
    const right = this.#binary(SUMS, () => this.#binary(PRODUCTS, () => this.#operand()));
    return (functions) => {
      const value = combine(left(functions), right(functions));
      return negated ? !value : value;
    };
  }

  #binary(operators: Readonly<Record<string, Combine>>, operand: () => Evaluate): Evaluate {
    let left = operand();
    for (;;) {
      const token = this.#tokens[this.#at];
      const combine = token?.kind === "sign" && Object.hasOwn(operators, token.text) ? operators[token.text] : undefined;
      if (!combine) return left;
      this.#at++;
      const [first, second] = [left, operand()];
      left = (functions) => combine(first(functions), second(functions));
    }
  }

  #operand(): Evaluate {
    const token = this.#tokens[this.#at++];
    if (!token) throw new ExpressionError("the expression is cut short");
    if (token.kind === "number") return constant(Number(token.text));
    if (token.kind === "string") return constant(token.text);
    if (token.kind === "word") return this.#word(token.text);
    if (token.text === "-") {
      const inner = this.#operand();
      return (functions) => -number(inner(functions));
    }
    if (token.text === "(") {
      const inner = this.expression();
      this.#expect(")");
      return inner;
    }
    if (token.text === "[") {
      const items = this.#items("]");
      return (functions) => items.map((item) => item(functions));
    }
    throw new ExpressionError(`"${token.text}" is not expected here`);
  }

  #word(name: string): Evaluate {
    if (name === "true" || name === "false") return constant(name === "true");
    if (!this.#functions.has(name))
      throw new ExpressionError(`there is no function "${name}"; there are ${[...this.#functions].sort().join(", ")}`);
    this.#expect("(");
    const values = this.#items(")");
    return (functions) => functions[name]?.(...values.map((value) => value(functions))) ?? "";
  }

  #items(end: ")" | "]"): Evaluate[] {
    const items: Evaluate[] = [];
    if (this.#takes(end)) return items;
    do items.push(this.expression());
    while (this.#takes(","));
    this.#expect(end);
    return items;
  }

  #peek(text: string): boolean {
    const token = this.#tokens[this.#at];
    return token !== undefined && token.kind !== "string" && token.text === text;
  }

  #takes(...texts: readonly string[]): boolean {
    const found = texts.some((text) => this.#peek(text));
    if (found) this.#at++;
    return found;
  }

  #expect(text: string): void {
    if (!this.#takes(text))
      throw new ExpressionError(
        `"${text}" is missing${this.#tokens[this.#at] ? ` before "${this.#tokens[this.#at]?.text}"` : " at the end"}`,
      );
  }
}

function constant(value: Value): Evaluate {
  return () => value;
}

function boolean(value: Value): boolean {
  if (typeof value === "boolean") return value;
  throw new ExpressionError(`${JSON.stringify(value)} is neither true nor false`);
}

function number(value: Value): number {
  if (typeof value === "number") return value;
  throw new ExpressionError(`${JSON.stringify(value)} is no number`);
}

function string(value: Value): string {
  if (typeof value === "string") return value;
  throw new ExpressionError(`${JSON.stringify(value)} is no text`);
}

function list(value: Value): readonly Value[] {
  if (Array.isArray(value)) return value;
  throw new ExpressionError(`${JSON.stringify(value)} is no list`);
}

function ordered(left: Value, right: Value): number {
  if (typeof left === "string" && typeof right === "string") return left < right ? -1 : left > right ? 1 : 0;
  return number(left) - number(right);
}

const patterns = new Map<string, RegExp>();

function regular(text: string): RegExp {
  let found = patterns.get(text);
  if (!found) {
    try {
      found = new RegExp(text.replace(/\(\?P</g, "(?<"));
    } catch (error) {
      throw new ExpressionError(`"${text}" is no regular expression: ${messageOf(error)}`);
    }
    if (patterns.size < 1000) patterns.set(text, found);
  }
  return found;
}
