// Zone files and single records from text (RFC 1035 §5.1, RFC 2308 §4, RFC 3597 §5), by the same table as the wire codec.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { messageOf } from "../../base/index.ts";
import { tryDuration } from "../corefile/index.ts";
import { CLASS, type Name, type ResourceRecord, typeCode } from "../message.ts";
import { labelsOf, nameOf } from "../wire/names.ts";
import { readData } from "./data.ts";
import { splitZone, type ZoneEntry, ZoneFileError, type ZoneWord } from "./words.ts";

export interface ZoneOptions {
  /** Names without a final dot are below it. */
  readonly origin: Name;
  /** Names the text in errors; $INCLUDE is relative to its folder. */
  readonly file: string;
  /** Seconds, for records without a TTL before any $TTL. */
  readonly ttl?: number;
  readonly readFile?: (path: string) => string;
}

interface State {
  origin: Name;
  ttl: number | undefined;
  owner: Name | undefined;
  class: number;
  includes: number;
}

const MAX_INCLUDES = 100;
/** RFC 2181 §8. */
const MAX_TTL = 2 ** 31 - 1;
const DEFAULT_TTL = 3600;

/** The records of a zone file. @throws ZoneFileError at the first fault */
export function parseZone(text: string, options: ZoneOptions): ResourceRecord[] {
  const state: State = { origin: options.origin, ttl: options.ttl, owner: undefined, class: CLASS.IN, includes: 0 };
  return readEntries(text, options, state);
}

/** One record in text; names without a final dot are below the root. @throws ZoneFileError */
export function parseRecord(text: string, file = "record"): ResourceRecord {
  const records = parseZone(text, { origin: ".", file, ttl: DEFAULT_TTL });
  const [record] = records;
  if (!record || records.length > 1)
    throw new ZoneFileError(
      file,
      { line: 1, column: 1 },
      `"${text}" is not one record`,
      "write it like: api.example.org. 60 IN A 10.0.0.1",
    );
  return record;
}

function readEntries(text: string, options: ZoneOptions, state: State): ResourceRecord[] {
  const records: ResourceRecord[] = [];
  for (const entry of splitZone(text, options.file)) {
    const [first] = entry.words;
    if (first && !first.quoted && !entry.indented && first.text.startsWith("$")) records.push(...directive(entry, options, state));
    else records.push(record(entry, options, state));
  }
  return records;
}

function directive({ words }: ZoneEntry, options: ZoneOptions, state: State): ResourceRecord[] {
  const [word, value, second] = words as [ZoneWord, ZoneWord | undefined, ZoneWord | undefined];
  const keyword = word.text.toUpperCase();
  if (!value) throw new ZoneFileError(options.file, word, `${keyword} needs a value`);
  if (keyword === "$ORIGIN") state.origin = toName(value, options.file, state.origin);
  else if (keyword === "$TTL") {
    const ttl = readTtl(value.text);
    if (ttl === undefined) throw new ZoneFileError(options.file, value, `"${value.text}" is no TTL`, "write it like 300 or 1h");
    state.ttl = ttl;
  } else if (keyword === "$INCLUDE") return include(value, second, options, state);
  else throw new ZoneFileError(options.file, word, `there is no directive ${keyword}`, "there are $ORIGIN, $TTL and $INCLUDE");
  return [];
}

function include(path: ZoneWord, origin: ZoneWord | undefined, options: ZoneOptions, state: State): ResourceRecord[] {
  if (++state.includes > MAX_INCLUDES)
    throw new ZoneFileError(options.file, path, `more than ${MAX_INCLUDES} files are included`, "does a file include itself?");
  const file = resolve(dirname(options.file), path.text);
  let text: string;
  try {
    text = (options.readFile ?? ((name: string) => readFileSync(name, "utf8")))(file);
  } catch (error) {
    throw new ZoneFileError(options.file, path, `"${path.text}" can't be included: ${messageOf(error)}`);
  }
  // The file's own $ORIGIN and owner end with it (RFC 1035 §5.1).
  const inner: State = { ...state, origin: origin ? toName(origin, options.file, state.origin) : state.origin };
  const records = readEntries(text, { ...options, file }, inner);
  state.includes = inner.includes;
  return records;
}

/** [OWNER] [TTL] [CLASS] TYPE DATA, TTL and class in either order. */
function record({ words, indented }: ZoneEntry, { file }: ZoneOptions, state: State): ResourceRecord {
  let at = 0;
  if (!indented) state.owner = toName(words[at++] as ZoneWord, file, state.origin);
  let ttl: number | undefined;
  let klass: number | undefined;
  for (let word = words[at]; word && !word.quoted; word = words[++at]) {
    const code = klass === undefined ? classCode(word.text) : undefined;
    const seconds = ttl === undefined && code === undefined ? readTtl(word.text) : undefined;
    if (code !== undefined) klass = code;
    else if (seconds !== undefined) ttl = seconds;
    else break;
  }
  const word = words[at];
  const place = word ?? words.at(-1) ?? { line: 1, column: 1 };
  const type = word && typeCode(word.text);
  if (!word || type === undefined)
    throw new ZoneFileError(
      file,
      place,
      word ? `"${word.text}" is no record type` : "this record has no type",
      "write it like: api 60 IN A 10.0.0.1",
    );
  if (state.owner === undefined) throw new ZoneFileError(file, place, "this record has no owner, and none was before it");
  if (klass !== undefined) state.class = klass;
  const data = readData({
    type,
    words: words.slice(at + 1),
    after: word,
    fault: (bad, message) => new ZoneFileError(file, bad, message),
    name: (each) => toName(each, file, state.origin),
  });
  // Without $TTL the SOA's last number stood for it before RFC 2308.
  if (data.type === "SOA" && ttl === undefined) state.ttl ??= data.minimum;
  if (ttl !== undefined) state.ttl ??= ttl;
  return { name: state.owner, class: state.class, ttl: ttl ?? state.ttl ?? DEFAULT_TTL, data };
}

function toName(word: ZoneWord, file: string, origin: Name): Name {
  if (word.text === "@" && !word.quoted) return origin;
  if (word.text === ".") return ".";
  const absolute = /(^|[^\\])(\\\\)*\.$/.test(word.text);
  const labels = labelsOf(word.text.toLowerCase());
  const all = absolute ? labels : [...labels, ...labelsOf(origin)];
  const length = all.reduce((sum, label) => sum + label.length + 1, 1);
  if (labels.length === 0 || length > 255 || all.some((label) => label === "" || label.length > 63))
    throw new ZoneFileError(file, word, `"${word.text}" is no name`, "labels have 1 to 63 bytes, a name 255 at most");
  return nameOf(all);
}

/** Seconds, or with units: 1h30m, 2d, 1w. */
function readTtl(text: string): number | undefined {
  if (/^\d{1,10}$/.test(text)) return Number(text) <= MAX_TTL ? Number(text) : undefined;
  if (!/^(\d+[smhdw])+$/i.test(text)) return undefined;
  const hours = text
    .toLowerCase()
    .replace(/(\d+)([dw])/g, (_whole, number: string, unit: string) => `${Number(number) * (unit === "d" ? 24 : 168)}h`);
  const milliseconds = tryDuration(hours);
  return milliseconds === undefined || milliseconds > MAX_TTL * 1000 ? undefined : milliseconds / 1000;
}

function classCode(text: string): number | undefined {
  const upper = text.toUpperCase();
  if (upper === "IN" || upper === "CH" || upper === "HS") return CLASS[upper];
  const number = /^CLASS(\d{1,5})$/.exec(upper)?.[1];
  return number === undefined ? undefined : Number(number) & 0xffff;
}
