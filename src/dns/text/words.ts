// Splits the text of a zone file into entries of words (RFC 1035 §5.1): quotes, comments, and parentheses over lines.
import { FairleadError } from "../../base/index.ts";

export interface ZoneWord {
  /** As written, without quotes; escapes are kept, as names have them too. */
  readonly text: string;
  readonly quoted: boolean;
  readonly line: number;
  readonly column: number;
}

export interface ZoneEntry {
  readonly words: readonly ZoneWord[];
  /** The line begins with a blank: the owner is the one before. */
  readonly indented: boolean;
}

/** What is wrong in a zone file, at its line and column. */
export class ZoneFileError extends FairleadError {
  constructor(file: string, at: { readonly line: number; readonly column: number }, message: string, remedy?: string) {
    super("zone-file", message, { where: `${file}:${at.line}:${at.column}`, remedy });
  }
}

/** @throws ZoneFileError for quotes and parentheses that are not closed */
export function splitZone(text: string, file: string): ZoneEntry[] {
  const entries: ZoneEntry[] = [];
  let words: ZoneWord[] = [];
  let indented = false;
  let depth = 0;
  let opened = { line: 1, column: 1 };
  const end = () => {
    if (words.length > 0) entries.push({ words, indented });
    words = [];
  };
  for (const [index, content] of text.split(/\r?\n/).entries()) {
    const line = index + 1;
    if (depth === 0) {
      end();
      indented = /^[ \t]/.test(content);
    }
    let at = 0;
    while (at < content.length) {
      const character = content[at] ?? "";
      const place = { line, column: at + 1 };
      if (character === ";") break;
      if (character === " " || character === "\t") at++;
      else if (character === "(" || character === ")") {
        depth += character === "(" ? 1 : -1;
        if (character === "(") opened = place;
        if (depth < 0) throw new ZoneFileError(file, place, "a parenthesis is closed that was not opened");
        at++;
      } else {
        const quoted = character === '"';
        const match = quoted ? /"((?:[^"\\]|\\.)*)"/y : /(?:[^\s;()"\\]|\\.)+|\\$/y;
        match.lastIndex = at;
        const found = match.exec(content);
        if (!found) throw new ZoneFileError(file, place, "a quote is not closed", 'write " at its end, on the same line');
        words.push({ text: quoted ? (found[1] ?? "") : found[0], quoted, ...place });
        at = match.lastIndex;
      }
    }
  }
  if (depth > 0) throw new ZoneFileError(file, opened, "a parenthesis is not closed");
  end();
  return entries;
}

/** The bytes of a word as latin1 text: \DDD and \x are undone (RFC 1035 §5.1). */
export function unescapeWord(text: string): string {
  let bytes = "";
  for (const [whole, digits, character] of text.matchAll(/\\(\d{3})|\\?([\s\S])/gu)) {
    if (digits !== undefined) bytes += String.fromCharCode(Number(digits) & 255);
    else bytes += Buffer.from(character ?? whole, "utf8").toString("latin1");
  }
  return bytes;
}
