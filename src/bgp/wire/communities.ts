// Communities: standard (RFC 1997), extended (RFC 4360) and large (RFC 8092), as numbers inside and text outside.
import { BgpError } from "../errors.ts";

/** Three numbers of 32 bits: global administrator, two of local meaning. */
export type LargeCommunity = readonly [number, number, number];

/** Well-known ones by name. */
export const WELL_KNOWN = {
  "graceful-shutdown": 0xffff0000,
  "llgr-stale": 0xffff0006,
  "no-llgr": 0xffff0007,
  blackhole: 0xffff029a,
  "no-export": 0xffffff01,
  "no-advertise": 0xffffff02,
  "no-export-subconfed": 0xffffff03,
} as const;

const NAME_OF = new Map<number, string>(Object.entries(WELL_KNOWN).map(([name, value]) => [value, name]));

/** "64512:100", or the name of a well-known one. */
export function formatCommunity(value: number): string {
  return NAME_OF.get(value) ?? `${value >>> 16}:${value & 0xffff}`;
}

/** "1:2:3". */
export function formatLargeCommunity(value: LargeCommunity): string {
  return value.join(":");
}

/** "rt:64512:100", "ro:10.0.0.1:5", otherwise "0x" and 16 hex digits. */
export function formatExtendedCommunity(value: bigint): string {
  const type = Number(value >> 56n) & 0xbf;
  const name = ({ 2: "rt", 3: "ro" } as const)[Number((value >> 48n) & 0xffn)];
  if (name !== undefined && Number(value >> 62n) === 0) {
    const high = Number((value >> 32n) & 0xffffn);
    const low = Number(value & 0xffffn);
    const middle = Number((value >> 16n) & 0xffffffffn);
    if (type === 0) return `${name}:${high}:${Number(value & 0xffffffffn)}`;
    if (type === 1) return `${name}:${middle >>> 24}.${(middle >>> 16) & 255}.${(middle >>> 8) & 255}.${middle & 255}:${low}`;
    if (type === 2 && middle > 0xffff) return `${name}:${middle}:${low}`;
  }
  return `0x${value.toString(16).padStart(16, "0")}`;
}

/** A community of any kind in text. */
export type Community =
  | { readonly kind: "standard"; readonly value: number }
  | { readonly kind: "large"; readonly value: LargeCommunity }
  | { readonly kind: "extended"; readonly value: bigint };

/** Reads what the format functions write. @throws BgpError `bad-community` */
export function parseCommunity(text: string): Community {
  const named = (WELL_KNOWN as Readonly<Record<string, number>>)[text];
  if (named !== undefined) return { kind: "standard", value: named };
  if (/^0x[0-9a-f]{16}$/i.test(text)) return { kind: "extended", value: BigInt(text) };
  const [head = "", ...tail] = text.split(":");
  if ((head === "rt" || head === "ro") && tail.length === 2) return { kind: "extended", value: parseTarget(head, tail, text) };
  const numbers = [head, ...tail].map((part) => (/^\d{1,10}$/.test(part) ? Number(part) : Number.NaN));
  const [a = 0, b = 0, c = 0] = numbers;
  if (numbers.length === 2 && numbers.every((part) => part <= 0xffff)) return { kind: "standard", value: (a * 65536 + b) >>> 0 };
  if (numbers.length === 3 && numbers.every((part) => part <= 0xffffffff)) return { kind: "large", value: [a, b, c] };
  throw bad(text);
}

function parseTarget(kind: "rt" | "ro", [administrator = "", assigned = ""]: readonly string[], text: string): bigint {
  const subtype = kind === "rt" ? 2n : 3n;
  const quad = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(administrator);
  const value = /^\d{1,10}$/.test(assigned) ? Number(assigned) : Number.NaN;
  if (quad) {
    const parts = quad.slice(1).map(Number);
    if (parts.some((part) => part > 255) || !(value <= 0xffff)) throw bad(text);
    return (1n << 56n) | (subtype << 48n) | (parts.reduce((sum, part) => sum * 256n + BigInt(part), 0n) << 16n) | BigInt(value);
  }
  const as = /^\d{1,10}$/.test(administrator) ? Number(administrator) : Number.NaN;
  if (as <= 0xffff && value <= 0xffffffff) return (subtype << 48n) | (BigInt(as) << 32n) | BigInt(value);
  if (as <= 0xffffffff && value <= 0xffff) return (2n << 56n) | (subtype << 48n) | (BigInt(as) << 16n) | BigInt(value);
  throw bad(text);
}

function bad(text: string): BgpError {
  return new BgpError("bad-community", `"${text}" is not a community`, {
    remedy: "write 64512:100, a large one as 64512:1:2, an extended one as rt:64512:100, or a name such as no-export",
  });
}
