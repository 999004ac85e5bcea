// The words of nft's language, for the fake: braces, commas, semicolons, parentheses and line ends stand alone, quotes are kept.
import { refuse } from "./refuse.ts";

export class Tokens {
  readonly #words: readonly string[];
  #at = 0;

  constructor(text: string | readonly string[]) {
    this.#words =
      typeof text === "string"
        ? (text.match(/"[^"]*"|[{}(),;\n]|#[^\n]*|[^\s{}(),;"]+/g)?.filter((word) => !word.startsWith("#")) ?? [])
        : text;
  }

  get done(): boolean {
    return this.#at >= this.#words.length;
  }

  peek(ahead = 0): string | undefined {
    return this.#words[this.#at + ahead];
  }

  next(): string {
    const word = this.#words[this.#at++];
    return word ?? refuse("EINVAL", "syntax error, unexpected end of the commands");
  }

  /** Takes the words if they stand next. */
  take(...words: readonly string[]): boolean {
    if (!words.every((word, index) => this.peek(index) === word)) return false;
    this.#at += words.length;
    return true;
  }

  expect(word: string): void {
    const found = this.next();
    if (found !== word) refuse("EINVAL", `syntax error, unexpected ${JSON.stringify(found)}, expecting ${JSON.stringify(word)}`);
  }

  /** Index of the next word. */
  get place(): number {
    return this.#at;
  }

  /** The words up to the end of the line, of the enclosing block or of all; what stands in braces belongs to it. */
  line(): string[] {
    const words: string[] = [];
    for (let depth = 0; !this.done; ) {
      if (depth === 0 && this.atEnd) break;
      const word = this.next();
      if (word === "{") depth++;
      if (word === "}") depth--;
      words.push(word);
    }
    return words;
  }

  /** Skips line ends and semicolons. */
  skipEnds(): void {
    while (this.take("\n") || this.take(";"));
  }

  /** Whether a rule or command ends here. */
  get atEnd(): boolean {
    const word = this.peek();
    return word === undefined || word === "\n" || word === ";" || word === "}";
  }
}

export const unquoted = (word: string): string => (word.startsWith('"') ? word.slice(1, -1) : word);
