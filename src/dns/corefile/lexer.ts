// Splits a Corefile's text into words with their places.
//
// A word ends at white space. One that begins with a quote goes to the next quote, over lines if need be; only \" is an
// escape in it. A # begins a comment up to the end of the line, also within a word.
import { CorefileError, type Place } from "./errors.ts";

export interface Word {
  readonly text: string;
  /** A quoted brace is no brace. */
  readonly quoted: boolean;
  readonly place: Place;
  /** The line that it ends on. */
  readonly lastLine: number;
}

/** @throws CorefileError for a quote that is not closed */
export function splitWords(text: string, file: string): Word[] {
  const words: Word[] = [];
  let line = 1;
  let lineStart = 0;
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;
  const newLine = () => {
    line++;
    lineStart = at + 1;
  };
  while (at < text.length) {
    const character = text[at] ?? "";
    if (character === "\n") newLine();
    if (/\s/.test(character)) {
      at++;
      continue;
    }
    if (character === "#") {
      while (at < text.length && text[at] !== "\n") at++;
      continue;
    }
    const place = { file, line, column: at - lineStart + 1 };
    if (character === '"') {
      let word = "";
      for (at++; text[at] !== '"'; at++) {
        if (at >= text.length) throw new CorefileError(place, "this quote is not closed", 'end the text with "');
        if (text[at] === "\n") newLine();
        if (text[at] === "\\" && text[at + 1] === '"') at++;
        word += text[at];
      }
      at++;
      words.push({ text: word, quoted: true, place, lastLine: line });
      continue;
    }
    const start = at;
    while (at < text.length && !/[\s#]/.test(text[at] ?? "")) at++;
    words.push({ text: text.slice(start, at), quoted: false, place, lastLine: line });
  }
  return words;
}
