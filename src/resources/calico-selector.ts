// Calico's selector language: expressions over labels, such as `has(rack) && zone in {'a', 'b'} && !(role == "db")`.
//
//   or ─▶ and ("||" and)*      and ─▶ not ("&&" not)*      not ─▶ "!" not | "(" or ")" | all() | global() | has(L) | L operator value
import { FairleadError } from "../base/index.ts";

type Labels = Readonly<Record<string, string>>;
type Test = (labels: Labels) => boolean;

/** A selector that can't be read. Code: `bad-selector`. */
function bad(text: string, at: number, wanted: string): FairleadError {
  return new FairleadError("bad-selector", `selector "${text.slice(0, 200)}" is not understood at character ${at + 1}: ${wanted}`, {
    remedy: "write it like: has(rack) && zone in {'a', 'b'}",
  });
}

const TOKEN = /\s*(?:(&&|\|\||==|!=|[!(){},])|'([^']*)'|"([^"]*)"|([A-Za-z0-9_./-]+))/y;
/** Deeper nesting than this is nobody's. */
const DEEPEST = 100;

/** No label has this value. */
const NEVER = "\u0000";

/** Labels' names may be those of Object's own. */
function labelOf(labels: Labels, label: string): string | undefined {
  return Object.hasOwn(labels, label) ? labels[label] : undefined;
}

interface Token {
  readonly kind: "sign" | "text" | "word" | "end";
  readonly value: string;
  readonly at: number;
}

const compiled = new Map<string, Test>();

/** The test that a selector makes of an object's labels. An empty one selects everything. @throws FairleadError `bad-selector` */
export function compileCalicoSelector(text: string): Test {
  const known = compiled.get(text);
  if (known) return known;
  const test = text.trim() === "" ? () => true : new Parser(text).parse();
  if (compiled.size > 1000) compiled.clear();
  compiled.set(text, test);
  return test;
}

class Parser {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  #next = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    this.#tokens = tokensOf(text);
  }

  parse(): Test {
    const test = this.#or();
    if (this.#peek().kind !== "end") throw this.#bad("&&, || or the end is expected");
    return test;
  }

  #or(): Test {
    const tests = [this.#and()];
    while (this.#takes("||")) tests.push(this.#and());
    return tests.length === 1 ? (tests[0] as Test) : (labels) => tests.some((test) => test(labels));
  }

  #and(): Test {
    const tests = [this.#not()];
    while (this.#takes("&&")) tests.push(this.#not());
    return tests.length === 1 ? (tests[0] as Test) : (labels) => tests.every((test) => test(labels));
  }

  #not(): Test {
    if (++this.#depth > DEEPEST) throw this.#bad("it is nested too deeply");
    try {
      if (this.#takes("!")) {
        const test = this.#not();
        return (labels) => !test(labels);
      }
      if (!this.#takes("(")) return this.#term();
      const test = this.#or();
      this.#demand(")");
      return test;
    } finally {
      this.#depth--;
    }
  }

  #term(): Test {
    const token = this.#take();
    if (token.kind !== "word") throw this.#bad("a label, has(), all() or a parenthesis is expected", token);
    if ((token.value === "all" || token.value === "global") && this.#takes("(")) {
      this.#demand(")");
      return token.value === "all" ? () => true : () => false;
    }
    if (token.value === "has" && this.#takes("(")) {
      const label = this.#take();
      if (label.kind !== "word") throw this.#bad("a label is expected", label);
      this.#demand(")");
      return (labels) => labelOf(labels, label.value) !== undefined;
    }
    return this.#comparison(token.value);
  }

  #comparison(label: string): Test {
    const operator = this.#take();
    switch (operator.value) {
      case "==": {
        const value = this.#value();
        return (labels) => labelOf(labels, label) === value;
      }
      case "!=": {
        const value = this.#value();
        return (labels) => labelOf(labels, label) !== value;
      }
      case "contains": {
        const value = this.#value();
        return (labels) => labelOf(labels, label)?.includes(value) ?? false;
      }
      case "starts":
      case "ends": {
        this.#demand("with");
        const value = this.#value();
        return operator.value === "starts"
          ? (labels) => labelOf(labels, label)?.startsWith(value) ?? false
          : (labels) => labelOf(labels, label)?.endsWith(value) ?? false;
      }
      case "in": {
        const values = this.#set();
        return (labels) => values.has(labelOf(labels, label) ?? NEVER);
      }
      case "not": {
        this.#demand("in");
        const values = this.#set();
        return (labels) => !values.has(labelOf(labels, label) ?? NEVER);
      }
      default:
        throw this.#bad("==, !=, in, not in, contains, starts with or ends with is expected", operator);
    }
  }

  #value(): string {
    const token = this.#take();
    if (token.kind !== "text") throw this.#bad("a value in quotes is expected", token);
    return token.value;
  }

  #set(): ReadonlySet<string> {
    this.#demand("{");
    const values = new Set<string>();
    if (this.#takes("}")) return values;
    do values.add(this.#value());
    while (this.#takes(","));
    this.#demand("}");
    return values;
  }

  #peek(): Token {
    return this.#tokens[this.#next] as Token;
  }

  #take(): Token {
    const token = this.#peek();
    if (token.kind !== "end") this.#next++;
    return token;
  }

  #takes(value: string): boolean {
    const token = this.#peek();
    if (token.kind === "text" || token.kind === "end" || token.value !== value) return false;
    this.#next++;
    return true;
  }

  #demand(value: string): void {
    if (!this.#takes(value)) throw this.#bad(`${value} is expected`);
  }

  #bad(wanted: string, token = this.#peek()): FairleadError {
    return bad(this.#text, token.at, wanted);
  }
}

function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (text.slice(at).trim() !== "") {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) throw bad(text, at, "this can't begin a word");
    const [all, sign, single, double, word] = match;
    const start = at + all.length - all.trimStart().length;
    if (sign !== undefined) tokens.push({ kind: "sign", value: sign, at: start });
    else if (word !== undefined) tokens.push({ kind: "word", value: word, at: start });
    else tokens.push({ kind: "text", value: single ?? double ?? "", at: start });
    at += all.length;
  }
  return [...tokens, { kind: "end", value: "", at: text.length }];
}
