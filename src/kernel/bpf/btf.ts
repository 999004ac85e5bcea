// What the kernel says of its own types and functions (BTF, linux/btf.h), as far as a program must know it.
import { KernelError } from "../errors.ts";

const MAGIC = 0xeb9f;
const HEADER_BYTES = 24;
/** struct btf_type: name, info, size or type. In words of 4 bytes. */
const TYPE_WORDS = 3;
const MEMBER_WORDS = 3;
const STRUCT = 4;
const FUNCTION = 12;
/** What a type of each kind has behind struct btf_type, in words: by itself, and for each of its members. */
const ALONE: Readonly<Record<number, number>> = { 1: 1, 3: 3, 14: 1, 17: 1 };
const EACH: Readonly<Record<number, number>> = { [STRUCT]: MEMBER_WORDS, 5: MEMBER_WORDS, 6: 2, 13: 2, 15: 3, 19: 3 };

export interface KernelTypes {
  /** The number of a function; undefined where the kernel has none of that name. */
  functionId(name: string): number | undefined;
  /** Where a member of a structure begins, in bytes; undefined where there is none. */
  memberOffset(structure: string, member: string): number | undefined;
  /** What a module's text goes on from. */
  readonly end: Base;
}

interface Found {
  readonly id: number;
  readonly kind: number;
  /** Where its members begin, in words. */
  readonly members: number;
  readonly count: number;
}

/** The kernel's own text, which that of a module goes on from: its numbers of types, and its places of names. */
interface Base {
  readonly types: number;
  readonly nameBytes: number;
}

/**
 * Reads the kernel's text (/sys/kernel/btf/vmlinux), or a module's beside it, for the types and functions of these names.
 * @throws KernelError EINVAL where it is no such text
 */
export function readKernelTypes(bytes: Uint8Array, names: readonly string[], base: Base = { types: 0, nameBytes: 0 }): KernelTypes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < HEADER_BYTES || view.getUint16(0, true) !== MAGIC) throw broken("it does not begin as BTF does");
  const header = view.getUint32(4, true);
  const section = (at: number) => {
    const start = header + view.getUint32(at, true);
    const end = start + view.getUint32(at + 4, true);
    if (end > bytes.length) throw broken("it is cut off");
    return bytes.subarray(start, end);
  };
  const types = words(section(8));
  const strings = Buffer.from(section(16));
  const textAt = (offset: number) => strings.toString("latin1", offset, Math.max(offset, strings.indexOf(0, offset)));
  const wanted = new Map(names.flatMap((name) => placeOf(strings, name).map((at) => [base.nameBytes + at, name])));
  const found = new Map<string, Found[]>();
  // Number 0 is the kernel's "void".
  let id = Math.max(1, base.types);
  for (let at = 0; at + TYPE_WORDS <= types.length; id++) {
    const info = types[at + 1] as number;
    const kind = (info >>> 24) & 0x1f;
    const count = info & 0xffff;
    const name = wanted.get(types[at] as number);
    if (name !== undefined) found.set(name, [...(found.get(name) ?? []), { id, kind, members: at + TYPE_WORDS, count }]);
    at += TYPE_WORDS + (ALONE[kind] ?? 0) + count * (EACH[kind] ?? 0);
  }
  return {
    functionId: (name) => found.get(name)?.find(({ kind }) => kind === FUNCTION)?.id,
    memberOffset(structure, member) {
      const type = found.get(structure)?.find(({ kind }) => kind === STRUCT);
      for (let i = 0; type && i < type.count; i++) {
        const at = type.members + i * MEMBER_WORDS;
        const [name, , bits] = types.subarray(at, at + MEMBER_WORDS);
        // Of a bit field, the upper byte is its width.
        if (name !== undefined && bits !== undefined && textAt(name - base.nameBytes) === member) return (bits & 0xff_ffff) / 8;
      }
      return undefined;
    },
    end: { types: id, nameBytes: base.nameBytes + strings.length },
  };
}

function words(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length >> 2);
}

/** Each name stands in the text once. */
function placeOf(strings: Buffer, name: string): number[] {
  const at = strings.indexOf(`\0${name}\0`, 0, "latin1");
  return at < 0 ? [] : [at + 1];
}

function broken(says: string): KernelError {
  return new KernelError({ errno: "EINVAL", operation: "read the kernel's types", says });
}
