// UPDATE: routes announced and withdrawn, both in the classic fields and in the multiprotocol attributes (RFC 4271, 4760, 8950).
import type { Family } from "../../base/index.ts";
import { addressBytes, addressText } from "./address-text.ts";
import { type AttributeContext, type AttributeProblem, type AttributeSpan, attributeName, readAttributes } from "./attribute-decode.ts";
import { attribute, writeAttributes } from "./attribute-encode.ts";
import { ATTRIBUTE, FLAG, type PathAttributes } from "./attributes.ts";
import { type ByteWriter, copyBytes } from "./byte-writer.ts";
import { type Nlri, readNlri, writeNlri } from "./nlri.ts";
import { CODE, Malformed } from "./protocol-error.ts";

/** Prefixes with the attributes that all of them have. */
interface Announcement {
  readonly nlri: Nlri;
  readonly attributes: PathAttributes;
}

export interface UpdateMessage {
  readonly type: "update";
  readonly announced: readonly Announcement[];
  /** With treat-as-withdraw, also what was announced. */
  readonly withdrawn: readonly Nlri[];
  /** RFC 4724 §2: the neighbour has sent all it had. */
  readonly endOfRib?: Family;
  /** What was wrong but does not end the session (RFC 7606). */
  readonly problems: readonly AttributeProblem[];
}

/** What was negotiated about the form of UPDATEs. */
export interface UpdateContext extends AttributeContext {
  /** Families in use; prefixes of others are ignored. */
  readonly families: readonly Family[];
  /** Families with path identifiers, in the direction that is decoded or encoded. */
  readonly addPath: readonly Family[];
  /** IPv4 prefixes may have IPv6 next hops (RFC 8950). */
  readonly extendedNextHop: boolean;
  /** Attributes decoded before, by their bytes: spares decoding them again. One per session. */
  readonly memo?: AttributeMemo;
}

/** Remembers decoded attributes by their bytes; the least recent half is forgotten when it is full. */
export class AttributeMemo {
  #young = new Map<string, PathAttributes>();
  #old = new Map<string, PathAttributes>();
  readonly #limit: number;

  constructor(limit = 4096) {
    this.#limit = limit;
  }

  get(key: string): PathAttributes | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, attributes: PathAttributes): void {
    if (this.#young.size >= this.#limit) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(key, attributes);
  }
}

const SAFI_UNICAST = 1;
const NO_PROBLEMS: readonly AttributeProblem[] = [];
const familyOfAfi = (afi: number): Family | undefined => (afi === 1 ? 4 : afi === 2 ? 6 : undefined);
const afiOf = (family: Family) => (family === 4 ? 1 : 2);

/** Reads the body of an UPDATE (after the header). @throws Malformed where RFC 7606 resets the session */
export function readUpdate(bytes: Uint8Array, context: UpdateContext): UpdateMessage {
  const end = bytes.length;
  const withdrawnEnd = 2 + (((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0));
  if (end < 4 || withdrawnEnd + 2 > end) throw new Malformed(CODE.update, 1, "the withdrawn routes end beyond the message");
  const attributesStart = withdrawnEnd + 2;
  const attributesEnd = attributesStart + (((bytes[withdrawnEnd] ?? 0) << 8) | (bytes[withdrawnEnd + 1] ?? 0));
  if (attributesEnd > end) throw new Malformed(CODE.update, 1, "the path attributes end beyond the message");
  const classic = { family: 4, addPath: context.addPath.includes(4) } as const;
  const carriesV4 = context.families.includes(4);

  const withdrawn: Nlri[] = [];
  const announced: Announcement[] = [];
  if (withdrawnEnd > 2) {
    const nlri = readNlri(bytes, 2, withdrawnEnd, classic);
    if (carriesV4) withdrawn.push(nlri);
  }
  const nlri = attributesEnd < end ? readNlri(bytes, attributesEnd, end, classic) : undefined;
  if (attributesStart === attributesEnd && !nlri) {
    if (withdrawnEnd === 2) return { type: "update", announced, withdrawn, endOfRib: 4, problems: NO_PROBLEMS };
    return { type: "update", announced, withdrawn, problems: NO_PROBLEMS };
  }

  const walked = walk(bytes, attributesStart, attributesEnd);
  const problems: AttributeProblem[] = walked.overrun ? [walked.overrun] : [];
  let unreached: Nlri | undefined;
  if (walked.unreach) {
    unreached = readUnreach(bytes, walked.unreach, context, problems);
    if (unreached && unreached.count > 0) withdrawn.push(unreached);
    else if (unreached && walked.spans.length === 1 && withdrawn.length === 0 && !nlri && problems.length === 0) {
      return { type: "update", announced, withdrawn, endOfRib: unreached.family, problems: NO_PROBLEMS };
    }
  }
  const reached = walked.reach ? readReach(bytes, walked.reach, context, problems) : undefined;
  const others = walked.spans.length - (walked.reach ? 1 : 0) - (walked.unreach ? 1 : 0);
  if (others === 0 && !nlri && !walked.reach && problems.length === 0)
    return { type: "update", announced, withdrawn, problems: NO_PROBLEMS };

  if (nlri) take(nlri, undefined);
  if (reached) take(reached.nlri, reached);
  else if (!nlri) take(undefined, undefined);
  if (problems.some(({ action }) => action === "treat-as-withdraw")) {
    // RFC 7606 §5.2: without a prefix there is nothing to withdraw, and prefixes may have been lost with what is malformed.
    if (!nlri && !walked.reach) throw new Malformed(CODE.update, 1, problems.map(({ says }) => says).join("; "));
    withdrawn.push(...announced.map((announcement) => announcement.nlri));
    return { type: "update", announced: [], withdrawn, problems };
  }
  return { type: "update", announced, withdrawn, problems };

  function take(list: Nlri | undefined, reach: Reached | undefined): void {
    const usable = list !== undefined && (reach !== undefined || carriesV4);
    const key = context.memo ? memoKey(bytes, { start: attributesStart, end: attributesEnd }, walked.reach, walked.unreach, reach) : "";
    let attributes = walked.overrun ? undefined : context.memo?.get(key);
    if (attributes === undefined) {
      const decoded = readAttributes(bytes, walked.spans, context);
      const own = [...decoded.problems];
      if (list) {
        const { origin, asPath, nextHop } = decoded.present;
        for (const [there, type] of [
          [origin, ATTRIBUTE.origin],
          [asPath, ATTRIBUTE.asPath],
          [nextHop || reach !== undefined, ATTRIBUTE.nextHop],
        ] as const) {
          if (!there) own.push({ attribute: type, action: "treat-as-withdraw", subcode: 3, says: `${attributeName(type)} is missing` });
        }
      }
      attributes = reach ? { ...decoded.attributes, nextHop: reach.nextHop, linkLocalNextHop: reach.linkLocal } : decoded.attributes;
      if (own.length === 0 && list) context.memo?.set(key, attributes);
      for (const problem of own) if (!problems.some(({ says }) => says === problem.says)) problems.push(problem);
    }
    if (usable) announced.push({ nlri: list, attributes });
  }
}

/** The attributes' bytes without the prefixes among them, and with the next hop that belongs to these. */
function memoKey(
  bytes: Uint8Array,
  all: { start: number; end: number },
  reach: AttributeSpan | undefined,
  unreach: AttributeSpan | undefined,
  reached: Reached | undefined,
): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (!reach && !unreach) return buffer.toString("latin1", all.start, all.end);
  const cuts = [reach, unreach].filter((span) => span !== undefined).sort((a, b) => a.start - b.start);
  let key = reached ? `${reached.nextHop} ${reached.linkLocal ?? ""} ` : "";
  let from = all.start;
  for (const cut of cuts) {
    key += buffer.toString("latin1", from, cut.start - (cut.flags & FLAG.extended ? 4 : 3));
    from = cut.end;
  }
  return key + buffer.toString("latin1", from, all.end);
}

interface Walked {
  readonly spans: readonly AttributeSpan[];
  readonly reach: AttributeSpan | undefined;
  readonly unreach: AttributeSpan | undefined;
  readonly overrun: AttributeProblem | undefined;
}

/** Finds the attributes by their headers. */
function walk(bytes: Uint8Array, from: number, to: number): Walked {
  const spans: AttributeSpan[] = [];
  let reach: AttributeSpan | undefined;
  let unreach: AttributeSpan | undefined;
  let overrun: AttributeProblem | undefined;
  for (let at = from; at < to; ) {
    const flags = bytes[at] ?? 0;
    const type = bytes[at + 1] ?? 0;
    const header = flags & FLAG.extended ? 4 : 3;
    const length = header === 4 ? ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0) : (bytes[at + 2] ?? 0);
    const start = at + header;
    const end = start + length;
    if (start > to || end > to) {
      // RFC 7606 §4: where the prefixes stand is known from the total length.
      overrun = {
        attribute: type,
        action: "treat-as-withdraw",
        subcode: 1,
        says: `${attributeName(type)} ends beyond the path attributes`,
      };
      break;
    }
    const span = { flags, type, start, end };
    if (type === ATTRIBUTE.mpReach || type === ATTRIBUTE.mpUnreach) {
      if (type === ATTRIBUTE.mpReach ? reach : unreach) throw new Malformed(CODE.update, 1, `${attributeName(type)} appears twice`);
      if (type === ATTRIBUTE.mpReach) reach = span;
      else unreach = span;
    }
    spans.push(span);
    at = end;
  }
  return { spans, reach, unreach, overrun };
}

interface Reached {
  readonly nlri: Nlri;
  readonly nextHop: string;
  readonly linkLocal: string | undefined;
}

function readReach(bytes: Uint8Array, span: AttributeSpan, context: UpdateContext, problems: AttributeProblem[]): Reached | undefined {
  const { start, end } = span;
  checkFlags(span, problems);
  const hopLength = bytes[start + 3] ?? 0;
  const hop = start + 4;
  if (end - start < 5 || hop + hopLength + 1 > end) throw malformedMp(bytes, span, "is too short");
  const family = familyOfAfi(((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0));
  if (family === undefined || bytes[start + 2] !== SAFI_UNICAST || !context.families.includes(family)) return undefined;
  // RFC 4760 §3: 4 bytes, or 16, or 32 with a link-local address; RFC 8950 for IPv4 prefixes.
  const sixteen = hopLength === 16 || hopLength === 32;
  if (!(family === 6 || context.extendedNextHop ? sixteen || (family === 4 && hopLength === 4) : hopLength === 4)) {
    throw malformedMp(bytes, span, `has a next hop of ${hopLength} bytes`);
  }
  const nlri = readNlri(bytes, hop + hopLength + 1, end, { family, addPath: context.addPath.includes(family) });
  const first = addressText(bytes, hop, sixteen ? 6 : 4);
  const second = hopLength === 32 ? addressText(bytes, hop + 16, 6) : undefined;
  // Some send only the link-local address, or :: before it.
  if (first === "::" && second !== undefined) return { nlri, nextHop: second, linkLocal: second };
  return { nlri, nextHop: first, linkLocal: second };
}

function readUnreach(bytes: Uint8Array, span: AttributeSpan, context: UpdateContext, problems: AttributeProblem[]): Nlri | undefined {
  const { start, end } = span;
  checkFlags(span, problems);
  if (end - start < 3) throw malformedMp(bytes, span, "is too short");
  const family = familyOfAfi(((bytes[start] ?? 0) << 8) | (bytes[start + 1] ?? 0));
  if (family === undefined || bytes[start + 2] !== SAFI_UNICAST || !context.families.includes(family)) return undefined;
  return readNlri(bytes, start + 3, end, { family, addPath: context.addPath.includes(family) });
}

function checkFlags({ flags, type }: AttributeSpan, problems: AttributeProblem[]): void {
  if ((flags & (FLAG.optional | FLAG.transitive)) === FLAG.optional) return;
  problems.push({
    attribute: type,
    action: "treat-as-withdraw",
    subcode: 4,
    says: `${attributeName(type)} has flags 0x${flags.toString(16)}`,
  });
}

function malformedMp(bytes: Uint8Array, { flags, type, start, end }: AttributeSpan, says: string): Malformed {
  return new Malformed(CODE.update, 9, `${attributeName(type)} ${says}`, copyBytes(bytes, start - (flags & FLAG.extended ? 4 : 3), end));
}

/** Whether the prefixes of a family with this next hop travel in the classic fields. */
export function isClassic(family: Family, nextHop: string): boolean {
  return family === 4 && !nextHop.includes(":");
}

/** Writes MP_REACH_NLRI up to its prefixes, which `body` writes. */
export function writeReach(writer: ByteWriter, family: Family, attributes: PathAttributes, body: () => void): void {
  attribute(writer, FLAG.optional, ATTRIBUTE.mpReach, () => {
    writer.u16(afiOf(family));
    writer.u8(SAFI_UNICAST);
    const hop = addressBytes(attributes.nextHop);
    const local = attributes.linkLocalNextHop === undefined ? undefined : addressBytes(attributes.linkLocalNextHop);
    writer.u8(hop.length + (local?.length ?? 0));
    writer.raw(hop);
    if (local) writer.raw(local);
    writer.u8(0);
    body();
  });
}

/** Writes MP_UNREACH_NLRI. */
export function writeUnreach(writer: ByteWriter, family: Family, body: () => void): void {
  attribute(writer, FLAG.optional, ATTRIBUTE.mpUnreach, () => {
    writer.u16(afiOf(family));
    writer.u8(SAFI_UNICAST);
    body();
  });
}

/** Writes the body of an UPDATE with at most one announcement, one IPv4 and one IPv6 withdrawal. `problems` are not written. */
export function writeUpdate(writer: ByteWriter, update: UpdateMessage, context: UpdateContext): void {
  const [announcement] = update.announced;
  const v4 = update.withdrawn.find(({ family }) => family === 4);
  const v6 =
    update.endOfRib === 6
      ? ({ family: 6, count: 0, words: new Uint32Array(0) } as const)
      : update.withdrawn.find(({ family }) => family === 6);
  const adds = (family: Family) => context.addPath.includes(family);
  const withdrawnAt = writer.length;
  writer.u16(0);
  if (v4) writeNlri(writer, v4, adds(4));
  writer.patch16(withdrawnAt, writer.length - withdrawnAt - 2);
  const attributesAt = writer.length;
  writer.u16(0);
  if (v6) writeUnreach(writer, 6, () => writeNlri(writer, v6, adds(6)));
  const classic = announcement && isClassic(announcement.nlri.family, announcement.attributes.nextHop);
  if (announcement) {
    const { nlri, attributes } = announcement;
    if (!classic) writeReach(writer, nlri.family, attributes, () => writeNlri(writer, nlri, adds(nlri.family)));
    writeAttributes(writer, attributes, { fourByteAs: context.fourByteAs, withNextHop: classic === true });
  }
  writer.patch16(attributesAt, writer.length - attributesAt - 2);
  if (announcement && classic) writeNlri(writer, announcement.nlri, adds(4));
}
