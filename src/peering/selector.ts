// Calico's selectors over a node's labels: all(), has(a), a == "b", a in {"b"}, contains, starts with, ends with, !, &&, ||.

export type Labels = Readonly<Record<string, string>>;
export type Selector = (labels: Labels) => boolean;

const TOKEN = /\s*(&&|\|\||==|!=|[!(){},]|"[^"]*"|'[^']*'|[A-Za-z0-9_./-]+)/y;

/** Compiles a selector; a text says what is wrong with it. An empty one selects everything. */
export function compileNodeSelector(text: string): Selector | { readonly wrong: string } {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.trimEnd().length) {
    const at = TOKEN.lastIndex;
    const [, token] = TOKEN.exec(text) ?? [];
    if (token === undefined) return { wrong: `"${text.slice(at).trim()}" is not understood` };
    tokens.push(token);
  }
  if (tokens.length === 0) return () => true;
  const reader = new Reader(tokens);
  try {
    const selector = reader.either();
    return reader.rest === undefined ? selector : { wrong: `"${reader.rest}" is one word too many` };
  } catch (error) {
    if (error instanceof SyntaxError) return { wrong: error.message };
    throw error;
  }
}

/** Parentheses and negations may be nested as deep as this. */
const DEEPEST = 100;

class Reader {
  readonly #tokens: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  get rest(): string | undefined {
    return this.#tokens[this.#at];
  }

  /** @throws SyntaxError */
  either(): Selector {
    const parts = [this.#both()];
    while (this.#take("||")) parts.push(this.#both());
    return parts.length === 1 && parts[0] ? parts[0] : (labels) => parts.some((part) => part(labels));
  }

  #both(): Selector {
    const parts = [this.#one()];
    while (this.#take("&&")) parts.push(this.#one());
    return parts.length === 1 && parts[0] ? parts[0] : (labels) => parts.every((part) => part(labels));
  }

  #one(): Selector {
    if (++this.#depth > DEEPEST) throw new SyntaxError("it is nested too deep");
    try {
      if (this.#take("!")) {
        const inner = this.#one();
        return (labels) => !inner(labels);
      }
      if (this.#take("(")) {
        const inner = this.either();
        this.#expect(")");
        return inner;
      }
      return this.#test();
    } finally {
      this.#depth--;
    }
  }

  #test(): Selector {
    const key = this.#word("a label");
    if ((key === "all" || key === "global") && this.#take("(")) {
      this.#expect(")");
      return () => true;
    }
    if (key === "has" && this.#take("(")) {
      const label = this.#word("a label");
      this.#expect(")");
      return (labels) => Object.hasOwn(labels, label);
    }
    const operator = this.#word("==, !=, in, not in, contains, starts with or ends with");
    const of = (labels: Labels) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
    switch (operator) {
      case "==": {
        const value = this.#value();
        return (labels) => of(labels) === value;
      }
      case "!=": {
        const value = this.#value();
        return (labels) => of(labels) !== value;
      }
      case "in":
      case "not": {
        if (operator === "not") this.#expect("in");
        const values = this.#values();
        return (labels) => values.has(of(labels) ?? "") === (operator === "in") && (operator === "not" || of(labels) !== undefined);
      }
      case "contains": {
        const value = this.#value();
        return (labels) => of(labels)?.includes(value) ?? false;
      }
      case "starts":
      case "ends": {
        this.#expect("with");
        const value = this.#value();
        return (labels) => (operator === "starts" ? of(labels)?.startsWith(value) : of(labels)?.endsWith(value)) ?? false;
      }
      default:
        throw new SyntaxError(`"${operator}" is no operator`);
    }
  }

  #values(): Set<string> {
    const values = new Set<string>();
    this.#expect("{");
    while (!this.#take("}")) {
      values.add(this.#value());
      if (this.rest !== "}") this.#expect(",");
    }
    return values;
  }

  #value(): string {
    const token = this.#word("a value in quotes");
    if (!/^["']/.test(token)) throw new SyntaxError(`"${token}" must stand in quotes`);
    return token.slice(1, -1);
  }

  #word(what: string): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new SyntaxError(`it ends where ${what} should follow`);
    return token;
  }

  #take(token: string): boolean {
    if (this.rest !== token) return false;
    this.#at++;
    return true;
  }

  #expect(token: string): void {
    if (!this.#take(token))
      throw new SyntaxError(`"${token}" is missing${this.rest === undefined ? " at its end" : ` before "${this.rest}"`}`);
  }
}
