// YAML and JSON text as documents of plain values, with the place of each value in the text.
import { type Document, isAlias, isCollection, isMap as isMapNode, isNode, isPair, LineCounter, parseAllDocuments, type Tags } from "yaml";
import { messageOf } from "../../base/index.ts";

interface Position {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

/** What is wrong with a file of manifests, and what to do about it. */
export interface ManifestProblem extends Position {
  readonly file: string;
  readonly message: string;
  readonly remedy: string;
}

/** A document: any JSON value. */
export interface ManifestDocument {
  readonly value: unknown;
  /** Where a value stands; where it is not there, the nearest that holds it. */
  readonly locate: (path: readonly (string | number)[]) => Position;
}

/** Aliases may stand for this many values of a document in all ("billion laughs"). */
const MAX_ALIASES = 100;
/** How the parser tells that the stack is exhausted, where it does not throw. */
const STACK = /call stack/;

/** As kubectl reads YAML: numbers with a leading 0 are octal, and yes, no, on and off are truth values. */
const kubectlTags = (tags: Tags): Tags => [
  {
    tag: "tag:yaml.org,2002:int",
    default: true,
    format: "OLD-OCT",
    test: /^[-+]?0[0-7]+$/,
    resolve: (text: string) => Number.parseInt(text, 8),
  },
  {
    tag: "tag:yaml.org,2002:bool",
    default: true,
    test: /^(?:yes|Yes|YES|on|On|ON|no|No|NO|off|Off|OFF)$/,
    resolve: (text: string) => /^(?:yes|on)$/i.test(text),
  },
  ...tags,
];

/** Reads a text of any number of documents. Empty ones are left out; a broken one is a problem, and the others are read. */
export function readDocuments(
  text: string,
  file: string,
): { readonly documents: readonly ManifestDocument[]; readonly problems: readonly ManifestProblem[] } {
  const documents: ManifestDocument[] = [];
  const problems: ManifestProblem[] = [];
  const counter = new LineCounter();
  const positionOf = (offset: number): Position => {
    const { line, col } = counter.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  let parsed: readonly Document[];
  try {
    const result = parseAllDocuments(body, { ...PARSING, lineCounter: counter });
    parsed = "empty" in result ? [] : result;
  } catch (error) {
    if (error instanceof RangeError) return { documents, problems: [tooDeep(file)] };
    return { documents, problems: [{ file, line: 1, column: 1, message: messageOf(error), remedy: "correct the YAML" }] };
  }
  for (const document of parsed) {
    if (document.errors.length > 0) {
      for (const error of document.errors.slice(0, 10)) {
        if (STACK.test(error.message)) return { documents, problems: [...problems, tooDeep(file)] };
        problems.push({ file, ...positionOf(error.pos[0]), message: sentence(error.message), remedy: remedyOf(error.code, body) });
      }
      continue;
    }
    const start = positionOf(document.contents?.range?.[0] ?? 0);
    try {
      const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
      if (value === null || value === undefined) continue;
      // As plain JSON, which is what an object is: no value twice in memory, no document within itself, no NaN.
      documents.push({ value: JSON.parse(JSON.stringify(value)), locate: (path) => locate(document, path, positionOf) });
    } catch (error) {
      const message = error instanceof ReferenceError ? "aliases stand for too many values" : "the document holds itself, or is too deep";
      problems.push({ file, ...start, message, remedy: "write the values out instead of using aliases (*name)" });
    }
  }
  return { documents, problems };
}

const PARSING = { uniqueKeys: true, merge: true, prettyErrors: false, logLevel: "silent", customTags: kubectlTags } as const;

function tooDeep(file: string): ManifestProblem {
  return {
    file,
    line: 1,
    column: 1,
    message: "nested too deep to be read",
    remedy: "no object needs that: correct the file",
  };
}

function remedyOf(code: string, text: string): string {
  if (text.includes("{{")) return "this looks like a template: render it first (helm template)";
  if (code === "DUPLICATE_KEY") return "keep one of the two";
  if (code === "TAB_AS_INDENT") return "indent with spaces";
  return "correct the YAML here";
}

function sentence(message: string): string {
  return message.replace(/\s+/g, " ").slice(0, 300);
}

function locate(document: Document, path: readonly (string | number)[], positionOf: (offset: number) => Position): Position {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? 0;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (!isCollection(node)) break;
    const pair = isMapNode(node) ? node.items.find((item) => isPair(item) && keyText(item.key) === String(step)) : undefined;
    const next: unknown = isMapNode(node) ? (pair?.value ?? pair?.key) : node.items[Number(step)];
    if (!isNode(next) || !next.range) break;
    node = next;
    offset = next.range[0];
  }
  return positionOf(offset);
}

function keyText(key: unknown): string {
  return typeof key === "object" && key !== null && "value" in key ? String(key.value) : String(key);
}
