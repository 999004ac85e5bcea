// The part of Go's text templates that records need: {{ .Field }}, {{ index .Match 1 }}, {{ parseInt .Group.b 16 8 }}.
import { FairleadError } from "../../../base/index.ts";

/** What fields are read from: texts, lists, maps, functions of one text. */
export interface TemplateData {
  readonly [field: string]: unknown;
}

export type Fill = (data: TemplateData) => string;

type Evaluate = (data: TemplateData) => unknown;

function refuse(message: string, remedy?: string): FairleadError {
  return new FairleadError("template", message, { remedy });
}

const KNOWN = "there are fields such as {{ .Name }}, {{ .Group.a }}, and the functions index, len, parseInt, printf and print";

/** @throws FairleadError `template` for what is not understood; filling throws it for what the data has not */
export function compileTemplate(text: string): Fill {
  const parts: (string | Evaluate)[] = [];
  let rest = text;
  for (;;) {
    const open = rest.indexOf("{{");
    if (open < 0) break;
    const close = rest.indexOf("}}", open);
    if (close < 0) throw refuse("{{ is not closed by }}");
    const trimLeft = rest.startsWith("{{- ", open);
    const trimRight = rest.slice(0, close).endsWith(" -");
    const before = rest.slice(0, open);
    parts.push(trimLeft ? before.trimEnd() : before);
    const inner = rest.slice(open + (trimLeft ? 3 : 2), close - (trimRight ? 1 : 0));
    if (!/^\s*\/\*.*\*\/\s*$/s.test(inner)) parts.push(pipeline(inner));
    rest = trimRight ? rest.slice(close + 2).trimStart() : rest.slice(close + 2);
  }
  parts.push(rest);
  return (data) => parts.map((part) => (typeof part === "string" ? part : show(part(data)))).join("");
}

function show(value: unknown): string {
  if (value === undefined || value === null) throw refuse("a field of the template has no value");
  return String(value);
}

/** A | B | C: each gets the one before as its last argument. */
function pipeline(text: string): Evaluate {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|`[^`]*`|[()|]|[^\s()|"`]+/g) ?? [];
  let at = 0;
  const command = (piped: Evaluate | undefined): Evaluate => {
    const words: Evaluate[] = [];
    let name: string | undefined;
    while (at < tokens.length && tokens[at] !== "|" && tokens[at] !== ")") {
      const token = tokens[at++] as string;
      if (token === "(") {
        words.push(chain());
        if (tokens[at++] !== ")") throw refuse("a parenthesis is not closed");
      } else if (words.length === 0 && name === undefined && Object.hasOwn(FUNCTIONS, token)) name = token;
      else words.push(operand(token));
    }
    if (piped) words.push(piped);
    const [first, ...values] = words;
    if (name !== undefined) {
      const apply = FUNCTIONS[name] as (...values: readonly unknown[]) => unknown;
      return (data) => apply(...words.map((word) => word(data)));
    }
    if (!first) throw refuse("{{ }} is empty", KNOWN);
    return (data) => {
      const value = first(data);
      if (typeof value === "function") return (value as (...given: readonly unknown[]) => unknown)(...values.map((each) => each(data)));
      if (values.length > 0) throw refuse("a field that is no function has arguments");
      return value;
    };
  };
  const chain = (): Evaluate => {
    let evaluate = command(undefined);
    while (tokens[at] === "|") {
      at++;
      evaluate = command(evaluate);
    }
    return evaluate;
  };
  const evaluate = chain();
  if (at < tokens.length) throw refuse(`"${tokens[at]}" is not expected in {{${text}}}`);
  return evaluate;
}

function operand(token: string): Evaluate {
  if (/^".*"$|^`.*`$/s.test(token)) {
    const value = token.startsWith('"') ? token.slice(1, -1).replace(/\\(.)/g, "$1") : token.slice(1, -1);
    return () => value;
  }
  if (/^-?\d+$/.test(token)) return () => Number(token);
  if (token === ".") return (data) => data;
  if (!/^(\.[A-Za-z_]\w*)+$/.test(token)) throw refuse(`"${token}" is not understood in a template`, KNOWN);
  const path = token.slice(1).split(".");
  return (data) => path.reduce<unknown>((value, field) => (isMap(value) && Object.hasOwn(value, field) ? value[field] : undefined), data);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

const FUNCTIONS: Readonly<Record<string, (...values: readonly never[]) => unknown>> = {
  index: (value: never, key: never) => {
    const found = isMap(value) && Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
    if (found === undefined) throw refuse(`index: there is no ${String(key)}`);
    return found;
  },
  len: (value: never) => (typeof value === "string" ? Buffer.byteLength(value) : isMap(value) ? Object.keys(value).length : 0),
  parseInt: (text: never, base: never, bits: never) => {
    const value = Number.parseInt(String(text), Number(base) || 10);
    // Number.parseInt stops at what is no digit; a number is the whole text.
    if (
      !Number.isInteger(value) ||
      value < 0 ||
      value >= 2 ** (Number(bits) || 64) ||
      !/^[0-9a-z]+$/i.test(String(text)) ||
      [...String(text)].some((digit) => Number.isNaN(Number.parseInt(digit, Number(base) || 10)))
    )
      throw refuse(`parseInt: "${String(text)}" is no number of base ${String(base)} and ${String(bits)} bits`);
    return value;
  },
  print: (...values: readonly never[]) => values.map(String).join(""),
  printf: (format: never, ...values: readonly never[]) => {
    let at = 0;
    return String(format).replace(/%(0?)(\d*)([dsvxq%])/g, (_whole, zero: string, width: string, verb: string) => {
      if (verb === "%") return "%";
      const value: unknown = values[at++];
      const text = verb === "x" ? Number(value).toString(16) : verb === "q" ? JSON.stringify(String(value)) : String(value);
      return text.padStart(Number(width) || 0, zero === "0" ? "0" : " ");
    });
  },
};
