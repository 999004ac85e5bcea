// Parses a Corefile into server blocks: keys, and directives with their arguments and nested lines.
//
//   words ──▶ imports and environment put in ──▶ blocks: KEY, KEY { NAME ARG… { … } }
//
// Snippets are blocks with one key in parentheses; `import` takes a snippet, or the files of a path with at most one "*".
import { type Dirent, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { messageOf } from "../../base/index.ts";
import { CorefileError, type Place } from "./errors.ts";
import { splitWords, type Word } from "./lexer.ts";

/** One line: a directive of a block, or an option within a directive. */
export interface Directive {
  readonly name: string;
  readonly place: Place;
  readonly args: readonly Argument[];
  /** The lines within its braces; undefined where it has none. */
  readonly body?: readonly Directive[];
}

export interface Argument {
  readonly text: string;
  readonly place: Place;
}

export interface ServerBlock {
  /** As written; see parseKey. */
  readonly keys: readonly Argument[];
  readonly directives: readonly Directive[];
}

export interface ParseOptions {
  /** Names the text in errors; paths of `import` are relative to its folder. */
  readonly file: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Reads an imported file. */
  readonly readFile?: (path: string) => string;
}

/** Imports in one Corefile: enough for any real one, and an end for those that import themselves. */
const MAX_IMPORTS = 1000;
const MAX_WORDS = 1_000_000;

/** @throws CorefileError */
export function parseCorefile(text: string, options: ParseOptions): ServerBlock[] {
  const parser = new Parser(splitWords(text, options.file), options);
  return parser.blocks();
}

class Parser {
  readonly #words: Word[];
  readonly #options: ParseOptions;
  readonly #snippets = new Map<string, Word[]>();
  #at = 0;
  #imports = 0;

  constructor(words: Word[], options: ParseOptions) {
    this.#words = words;
    this.#options = options;
  }

  blocks(): ServerBlock[] {
    const blocks: ServerBlock[] = [];
    while (this.#at < this.#words.length) {
      const block = this.#block();
      if (block) blocks.push(block);
    }
    return blocks;
  }

  #peek(): Word | undefined {
    return this.#words[this.#at];
  }

  #isBrace(brace: "{" | "}", word = this.#peek()): boolean {
    return word !== undefined && !word.quoted && word.text === brace;
  }

  /** Whether the word at hand begins a line (of its file). */
  #beginsLine(): boolean {
    const word = this.#peek();
    const before = this.#words[this.#at - 1];
    return !before || !word || before.place.file !== word.place.file || before.lastLine !== word.place.line;
  }

  #block(): ServerBlock | undefined {
    const keys = this.#keys();
    if (keys.length === 0) {
      const place = this.#peek()?.place;
      if (place && this.#isBrace("{"))
        throw new CorefileError(place, "a server block without a zone", "write the zone before it, such as .:53");
      if (place && this.#isBrace("}")) throw new CorefileError(place, "a closing brace without an opening one");
      return undefined;
    }
    const [first] = keys;
    const braced = this.#isBrace("{");
    if (first && keys.length === 1 && /^\(.*\)$/.test(first.text)) {
      if (!braced) throw new CorefileError(first.place, `snippet ${first.text} has no opening brace`, "write { after its name");
      this.#snippet(first);
      return undefined;
    }
    if (!braced) return { keys, directives: this.#lines(undefined) };
    const open = this.#words[this.#at++];
    return { keys, directives: this.#lines(open) };
  }

  #keys(): Argument[] {
    const keys: Argument[] = [];
    let expectsAnother = false;
    for (let word = this.#peek(); word; word = this.#peek()) {
      if (this.#isBrace("{") || this.#isBrace("}")) {
        if (expectsAnother)
          throw new CorefileError(word.place, `another zone was expected, not "${word.text}"`, "take the last comma away");
        break;
      }
      if (keys.length > 0 && !expectsAnother && this.#beginsLine()) break;
      if (word.text === "import" && this.#beginsLine()) {
        this.#import();
        continue;
      }
      this.#at++;
      for (const part of this.#expand(word).split(/(?<=,)/)) {
        expectsAnother = part.endsWith(",");
        const text = expectsAnother ? part.slice(0, -1) : part;
        if (text !== "") keys.push({ text, place: word.place });
      }
    }
    if (expectsAnother) throw new CorefileError(keys.at(-1)?.place ?? this.#endPlace(), "another zone was expected after the comma");
    return keys;
  }

  #snippet(key: Argument): void {
    const name = key.text.slice(1, -1);
    if (this.#snippets.has(name)) throw new CorefileError(key.place, `snippet (${name}) is there twice`, "give one of them another name");
    const open = this.#words[this.#at++];
    const start = this.#at;
    for (let depth = 1; depth > 0; this.#at++) {
      if (!this.#peek()) throw notClosed(open);
      if (this.#isBrace("{")) depth++;
      if (this.#isBrace("}")) depth--;
    }
    this.#snippets.set(name, this.#words.slice(start, this.#at - 1));
  }

  /** Lines up to the closing brace, or to the end of the text where there is no opening one. */
  #lines(open: Word | undefined): Directive[] {
    const lines: Directive[] = [];
    for (;;) {
      const word = this.#peek();
      if (!word) {
        if (open) throw notClosed(open);
        return lines;
      }
      if (this.#isBrace("}")) {
        if (!open) throw new CorefileError(word.place, "a closing brace without an opening one");
        this.#at++;
        return lines;
      }
      if (this.#isBrace("{"))
        throw new CorefileError(word.place, "an opening brace with nothing before it", "put it at the end of the line that it belongs to");
      if (word.text === "import" && !word.quoted) this.#import();
      else lines.push(this.#line());
    }
  }

  #line(): Directive {
    const first = this.#words[this.#at++] as Word;
    const args: Argument[] = [];
    const line = { name: this.#expand(first), place: first.place, args };
    for (let word = this.#peek(); word && !this.#beginsLine() && !this.#isBrace("}"); word = this.#peek()) {
      this.#at++;
      if (this.#isBrace("{", word)) return { ...line, body: this.#lines(word) };
      args.push({ text: this.#expand(word), place: word.place });
    }
    return line;
  }

  /** Puts the words of a snippet or of files in the place of `import NAME`. */
  #import(): void {
    const word = this.#words[this.#at] as Word;
    const argument = this.#words[this.#at + 1];
    if (!argument || argument.place.line !== word.lastLine || argument.place.file !== word.place.file)
      throw new CorefileError(word.place, "import of what?", "write a snippet's name or a file's path after it");
    const beyond = this.#words[this.#at + 2];
    if (beyond && beyond.place.line === argument.lastLine && beyond.place.file === argument.place.file && !this.#isBrace("}", beyond))
      throw new CorefileError(beyond.place, "import takes one name", "write one import a line");
    this.#imports++;
    const name = this.#expand(argument);
    const words = this.#snippets.get(name) ?? this.#files(name, argument.place);
    if (this.#imports > MAX_IMPORTS || this.#words.length + words.length > MAX_WORDS)
      throw new CorefileError(word.place, `${name} is imported again and again`, "let no snippet or file import itself");
    this.#words.splice(this.#at, 2, ...words);
  }

  #files(pattern: string, place: Place): Word[] {
    if (pattern === "") throw new CorefileError(place, "import of an empty name");
    const path = resolve(dirname(place.file), pattern);
    if (path.split("*").length > 2 || /[?[\]]/.test(path))
      throw new CorefileError(place, `"${pattern}" has more than one wildcard`, "use at most one * in it");
    const paths = path.includes("*") ? this.#glob(path) : [path];
    const read = this.#options.readFile ?? ((file: string) => readFileSync(file, "utf8"));
    return paths.flatMap((file) => {
      try {
        return splitWords(read(file), file);
      } catch (error) {
        if (error instanceof CorefileError) throw error;
        throw new CorefileError(place, `"${pattern}" is neither a snippet nor a file that can be read: ${messageOf(error)}`);
      }
    });
  }

  /** The files that a path with one * in its last part stands for, in order of name; there may be none. */
  #glob(path: string): string[] {
    const [head = "", tail = ""] = basename(path).split("*");
    let entries: Dirent[];
    try {
      entries = readdirSync(dirname(path), { withFileTypes: true });
    } catch {
      return [];
    }
    return entries
      .filter(
        ({ name }) => !name.startsWith(".") && name.length >= head.length + tail.length && name.startsWith(head) && name.endsWith(tail),
      )
      .filter((entry) => !entry.isDirectory())
      .map(({ name }) => join(dirname(path), name))
      .sort();
  }

  /** {$NAME} and {%NAME%} are the environment's; a variable that is not set is empty. */
  #expand(word: Word): string {
    const { environment = {} } = this.#options;
    return word.text.replace(
      /\{\$([^{}]+)\}|\{%([^{}%]+)%\}/g,
      (_whole, unix?: string, windows?: string) => environment[unix ?? windows ?? ""] ?? "",
    );
  }

  #endPlace(): Place {
    return this.#words.at(-1)?.place ?? { file: this.#options.file, line: 1, column: 1 };
  }
}

function notClosed(open: Word | undefined): CorefileError {
  const place = open?.place ?? { file: "Corefile", line: 1, column: 1 };
  return new CorefileError(place, "this brace is not closed", "write } on a line of its own where the block ends");
}
