// AS paths: segments between wire and data, length, loops, prepending, and the repair of paths that crossed a 2-byte speaker.
import { BgpError } from "../errors.ts";
import type { ByteWriter } from "./byte-writer.ts";

/** "sequence" and "set" (RFC 4271), and those of confederations (RFC 5065). */
type SegmentType = "set" | "sequence" | "confed-sequence" | "confed-set";

interface AsSegment {
  readonly type: SegmentType;
  readonly ases: readonly number[];
}

export type AsPath = readonly AsSegment[];

/** Stands for a 4-byte number where only two bytes fit (RFC 6793). */
export const AS_TRANS = 23456;
const TYPES: readonly (SegmentType | undefined)[] = [undefined, "set", "sequence", "confed-sequence", "confed-set"];
const SEGMENT_LIMIT = 255;

/** Reads segments of AS numbers of `width` bytes; undefined if malformed: unknown type, empty segment, overrun (RFC 7606 §7.2). */
export function readAsPath(bytes: Uint8Array, start: number, end: number, width: 2 | 4): AsPath | undefined {
  const path: AsSegment[] = [];
  for (let at = start; at < end; ) {
    const type = TYPES[bytes[at] ?? 0];
    const count = bytes[at + 1] ?? 0;
    at += 2;
    if (type === undefined || count === 0 || at + count * width > end) return undefined;
    const ases: number[] = [];
    for (let i = 0; i < count; i++, at += width) {
      const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
      ases.push(width === 2 ? high : high * 65536 + (((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0)));
    }
    path.push({ type, ases });
  }
  return path;
}

/** Writes segments; a number over two bytes becomes AS_TRANS where `width` is 2. */
export function writeAsPath(writer: ByteWriter, path: AsPath, width: 2 | 4): void {
  for (const { type, ases } of path) {
    for (let start = 0; start < ases.length; start += SEGMENT_LIMIT) {
      const end = Math.min(ases.length, start + SEGMENT_LIMIT);
      writer.u8(TYPES.indexOf(type));
      writer.u8(end - start);
      for (let i = start; i < end; i++) {
        const as = ases[i] ?? 0;
        if (width === 4) writer.u32(as);
        else writer.u16(as > 65535 ? AS_TRANS : as);
      }
    }
  }
}

/** Length for the decision: a set counts one, confederation segments nothing (RFC 4271 §9.1.2.2, RFC 5065 §5.3). */
export function asPathLength(path: AsPath): number {
  let length = 0;
  for (const { type, ases } of path) length += type === "sequence" ? ases.length : type === "set" ? 1 : 0;
  return length;
}

/** The AS that sent the route, for comparing MEDs: first of the first sequence; 0 if there is none. */
export function neighbourAs(path: AsPath): number {
  const first = path[0];
  return first?.type === "sequence" ? (first.ases[0] ?? 0) : 0;
}

/** Whether the AS stands anywhere in the path. */
export function asPathContains(path: AsPath, as: number): boolean {
  return path.some(({ ases }) => ases.includes(as));
}

/** How often the AS stands in the path. */
export function asPathCount(path: AsPath, as: number): number {
  let count = 0;
  for (const { ases } of path) for (const each of ases) if (each === as) count++;
  return count;
}

/** The path with `as` put in front `times` times. */
export function prependAs(path: AsPath, as: number, times = 1): AsPath {
  const added = new Array<number>(times).fill(as);
  const first = path[0];
  if (first?.type === "sequence" && first.ases.length + times <= SEGMENT_LIMIT) {
    return [{ type: "sequence", ases: [...added, ...first.ases] }, ...path.slice(1)];
  }
  return [{ type: "sequence", ases: added }, ...path];
}

/** AS_PATH and AS4_PATH made one (RFC 6793 §4.2.3). */
export function mergeAs4Path(path: AsPath, as4: AsPath): AsPath {
  const missing = asPathLength(path) - asPathLength(as4);
  if (missing < 0) return path;
  const head: AsSegment[] = [];
  let rest = missing;
  for (const segment of path) {
    if (segment.type.startsWith("confed")) {
      head.push(segment);
      continue;
    }
    if (rest <= 0) break;
    if (segment.type === "set") {
      head.push(segment);
      rest -= 1;
    } else {
      head.push({ type: segment.type, ases: segment.ases.slice(0, rest) });
      rest -= segment.ases.length;
    }
  }
  return [...head, ...as4.filter(({ type }) => !type.startsWith("confed"))];
}

/** "64512 65001 {65002 65003} (65100)". */
export function formatAsPath(path: AsPath): string {
  return path
    .map(({ type, ases }) => {
      const text = ases.join(" ");
      if (type === "sequence") return text;
      if (type === "set") return `{${text}}`;
      return type === "confed-sequence" ? `(${text})` : `[${text}]`;
    })
    .join(" ");
}

/** As formatAsPath writes it. @throws BgpError `bad-as-path` */
export function parseAsPath(text: string): AsPath {
  const path: AsSegment[] = [];
  for (const [part] of text.matchAll(/\{[^}]*\}|\([^)]*\)|\[[^\]]*\]|[^{}()[\]]+/g)) {
    const type = ({ "{": "set", "(": "confed-sequence", "[": "confed-set" } as const)[part[0] ?? ""] ?? "sequence";
    const words = part.replace(/[{}()[\],]/g, " ").trim();
    if (words === "") continue;
    path.push({ type, ases: words.split(/\s+/).map((word) => parseAs(word)) });
  }
  return path;
}

/** A number or "high.low" (RFC 5396). @throws BgpError `bad-as-number` */
function parseAs(text: string): number {
  const match = /^(?:(\d{1,5})\.)?(\d{1,10})$/.exec(text);
  const high = Number(match?.[1] ?? 0);
  const low = Number(match?.[2] ?? Number.NaN);
  const value = high * 65536 + low;
  if (!match || value > 0xffffffff || (match[1] !== undefined && (high > 65535 || low > 65535))) {
    throw new BgpError("bad-as-number", `"${text}" is not an AS number`, { remedy: "write a number from 1 to 4294967295" });
  }
  return value;
}
