// Elements of nftables' sets over nfnetlink (linux/netfilter/nf_tables.h), without the library: it reads every chain that there is first.
//
//   message: family | table | set | list of elements       element: key | data: value or verdict | userdata: comment
//
// The parts of a key or value stand one after the other, each filled up to four bytes where there are several. Ports are of network
// order; marks and numbers (numgen, jhash) of the host's.
import { addressToBytes, tryParseAddress } from "../../base/index.ts";
import type { ElementChange, NftElement, NftSet, NftType, NftVerdict } from "../netfilter.ts";
import { formatOwner } from "../nft/owner.ts";
import { align, writeU16, writeU32 } from "./attribute.ts";
import { FLAG } from "./message.ts";
import { NFT_FAMILY, NFT_MESSAGE } from "./nftables.ts";

/** A request of a batch. */
export interface BatchRequest {
  readonly type: number;
  readonly flags: number;
  readonly body: Uint8Array;
}

const NESTED = 0x8000;
const LIST = { table: 1, set: 2, elements: 3 } as const;
const LIST_ELEMENT = 1;
const ELEMENT = { key: 1, data: 2, userdata: 6 } as const;
const DATA = { value: 1, verdict: 2 } as const;
const VERDICT = { code: 1, chain: 2 } as const;
/** NF_DROP, NF_ACCEPT, and nf_tables' own (NFT_CONTINUE, …). */
const CODE: Readonly<Record<NftVerdict["verdict"], number>> = { drop: 0, accept: 1, continue: -1, jump: -3, goto: -4, return: -5 };
/** A list is one attribute, which has at most 65,535 bytes. */
const MOST_BYTES = 60_000;
const LEAST_BUFFER = 64 * 1024;
/** A buffer of more bytes is not kept for the next time. */
const MOST_KEPT = 2 << 20;

/**
 * The requests that make the changes; undefined where a set or element is of a kind that is left to the library.
 * Their bodies are views of one buffer, valid until the next call.
 */
export function encodeElementChanges(changes: readonly ElementChange[]): BatchRequest[] | undefined {
  const requests: BatchRequest[] = [];
  SCRATCH.clear();
  for (const change of changes) {
    if (change.set.flags?.includes("interval")) return undefined;
    if (
      !encodeList(requests, NFT_MESSAGE.deleteElements, change, change.removed) ||
      !encodeList(requests, NFT_MESSAGE.newElements, change, change.added)
    )
      return undefined;
  }
  return requests;
}

function encodeList(
  requests: BatchRequest[],
  type: number,
  { family, table, set }: ElementChange,
  elements: readonly NftElement[],
): boolean {
  const isNew = type === NFT_MESSAGE.newElements;
  for (let next = 0; next < elements.length; ) {
    const bytes = SCRATCH;
    const start = bytes.length;
    bytes.raw(Uint8Array.of(NFT_FAMILY[family], 0, 0, 0));
    bytes.text(LIST.table, table);
    bytes.text(LIST.set, set.name);
    const list = bytes.open(LIST.elements);
    for (const from = bytes.length; next < elements.length && bytes.length - from < MOST_BYTES; next++)
      if (!writeElement(bytes, set, elements[next] as NftElement, isNew)) return false;
    bytes.close(list);
    requests.push({ type, flags: isNew ? FLAG.create : 0, body: bytes.since(start) });
  }
  return true;
}

function writeElement(bytes: Writer, set: NftSet, element: NftElement, whole: boolean): boolean {
  const opened = bytes.open(LIST_ELEMENT);
  const key = bytes.open(ELEMENT.key);
  if (!writeParts(bytes, set.key, element.key)) return false;
  bytes.close(key);
  if (whole && set.value) {
    const data = bytes.open(ELEMENT.data);
    const { value } = element;
    if (value === undefined) return false;
    if ("verdict" in value) writeVerdict(bytes, value);
    else if (!writeParts(bytes, set.value, value)) return false;
    bytes.close(data);
  }
  if (whole && element.owner) {
    // libnftnl's list of type, length and value: 0 is the comment, which ends in NUL.
    const comment = ENCODER.encode(`${formatOwner(element.owner)}\0`);
    bytes.attribute(ELEMENT.userdata, 2 + comment.length, (buffer, at) => {
      buffer[at + 1] = comment.length;
      buffer.set(comment, at + 2);
    });
  }
  bytes.close(opened);
  return true;
}

function writeVerdict(bytes: Writer, verdict: NftVerdict): void {
  const opened = bytes.open(DATA.verdict);
  bytes.attribute(VERDICT.code, 4, (buffer, at) => new DataView(buffer.buffer).setInt32(at, CODE[verdict.verdict]));
  if ("chain" in verdict) bytes.text(VERDICT.chain, verdict.chain);
  bytes.close(opened);
}

function writeParts(bytes: Writer, types: readonly NftType[], parts: readonly string[]): boolean {
  if (types.length !== parts.length) return false;
  const several = types.length > 1;
  const size = types.reduce((sum, type) => sum + (several ? align(SIZE[type]) : SIZE[type]), 0);
  let written = true;
  bytes.attribute(DATA.value, size, (buffer, start) => {
    let at = start;
    for (const [index, type] of types.entries()) {
      written &&= writePart(buffer, at, type, parts[index] as string);
      at += several ? align(SIZE[type]) : SIZE[type];
    }
  });
  return written;
}

const SIZE: Readonly<Record<NftType, number>> = {
  ipv4_addr: 4,
  ipv6_addr: 16,
  inet_proto: 1,
  inet_service: 2,
  mark: 4,
  ifname: 16,
  ether_addr: 6,
  integer: 4,
  verdict: 0,
};
const PROTOCOL: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, "ipv6-icmp": 58, icmpv6: 58, sctp: 132 };
const ENCODER = new TextEncoder();
const NUMBER = /^(\d+|0x[0-9a-f]+)$/i;
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** @returns whether the text is a value of the type that is written here: no names of services, no ranges */
function writePart(buffer: Uint8Array, at: number, type: NftType, text: string): boolean {
  switch (type) {
    case "ipv4_addr":
    case "ipv6_addr": {
      const address = tryParseAddress(text);
      if (address?.family !== (type === "ipv4_addr" ? 4 : 6)) return false;
      buffer.set(addressToBytes(address), at);
      return true;
    }
    case "ether_addr":
      if (!MAC.test(text)) return false;
      buffer.set(
        Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16)),
        at,
      );
      return true;
    case "ifname": {
      const name = ENCODER.encode(text);
      // "eth*" is a prefix to nft.
      if (name.length === 0 || name.length > 15 || text.includes("*")) return false;
      buffer.set(name, at);
      return true;
    }
    case "verdict":
      return false;
    default: {
      const number = (type === "inet_proto" ? PROTOCOL[text] : undefined) ?? (NUMBER.test(text) ? Number(text) : Number.NaN);
      if (!(number < 2 ** (8 * SIZE[type]))) return false;
      if (type === "inet_proto") buffer[at] = number;
      else if (type === "inet_service") buffer.set([number >>> 8, number & 0xff], at);
      else writeU32(buffer, at, number);
      return true;
    }
  }
}

/** Attributes in one growing buffer: large sets have hundreds of thousands of them, and a buffer each would be as much garbage. */
class Writer {
  #buffer = new Uint8Array(LEAST_BUFFER);
  length = 0;

  clear(): void {
    this.length = 0;
    if (this.#buffer.length > MOST_KEPT) this.#buffer = new Uint8Array(LEAST_BUFFER);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Begins an attribute of attributes. @returns where it begins, for `close` */
  open(id: number): number {
    const start = this.length;
    this.#reserve(4);
    writeU16(this.#buffer, start + 2, id | NESTED);
    this.length += 4;
    return start;
  }

  close(start: number): void {
    writeU16(this.#buffer, start, this.length - start);
  }

  attribute(id: number, size: number, write: (buffer: Uint8Array, at: number) => void): void {
    this.#reserve(4 + align(size));
    writeU16(this.#buffer, this.length, 4 + size);
    writeU16(this.#buffer, this.length + 2, id);
    write(this.#buffer, this.length + 4);
    this.length += 4 + align(size);
  }

  text(id: number, text: string): void {
    const bytes = ENCODER.encode(`${text}\0`);
    this.attribute(id, bytes.length, (buffer, at) => buffer.set(bytes, at));
  }

  since(start: number): Uint8Array {
    return this.#buffer.subarray(start, this.length);
  }

  /** Makes room for so many bytes, all of them 0. */
  #reserve(size: number): void {
    if (this.length + size > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(2 * this.#buffer.length, this.length + size));
      larger.set(this.#buffer.subarray(0, this.length));
      this.#buffer = larger;
    } else this.#buffer.fill(0, this.length, this.length + size);
  }
}

const SCRATCH = new Writer();
