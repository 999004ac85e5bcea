// Path attributes to bytes, in order of their type codes (RFC 4271 §5), MP attributes first (RFC 7606 §5.1).
import { addressBytes } from "./address-text.ts";
import { AS_TRANS, asPathContains, writeAsPath } from "./as-path.ts";
import { type Aggregator, ATTRIBUTE, FLAG, type PathAttributes } from "./attributes.ts";
import type { ByteWriter } from "./byte-writer.ts";

const OPTIONAL_TRANSITIVE = FLAG.optional | FLAG.transitive;

/** Writes all but the MP attributes. NEXT_HOP is written where `withNextHop` says so. */
export function writeAttributes(
  writer: ByteWriter,
  attributes: PathAttributes,
  options: { readonly fourByteAs: boolean; readonly withNextHop: boolean },
): void {
  const { med, localPref, aggregator, originatorId } = attributes;
  attribute(writer, FLAG.transitive, ATTRIBUTE.origin, () => writer.u8(attributes.origin));
  const width = options.fourByteAs ? 4 : 2;
  attribute(writer, FLAG.transitive, ATTRIBUTE.asPath, () => writeAsPath(writer, attributes.asPath, width));
  if (options.withNextHop) attribute(writer, FLAG.transitive, ATTRIBUTE.nextHop, () => writer.raw(addressBytes(attributes.nextHop)));
  if (med !== undefined) attribute(writer, FLAG.optional, ATTRIBUTE.med, () => writer.u32(med));
  if (localPref !== undefined) attribute(writer, FLAG.transitive, ATTRIBUTE.localPref, () => writer.u32(localPref));
  if (attributes.atomicAggregate) attribute(writer, FLAG.transitive, ATTRIBUTE.atomicAggregate, () => undefined);
  if (aggregator) attribute(writer, OPTIONAL_TRANSITIVE, ATTRIBUTE.aggregator, () => writeAggregator(writer, aggregator, width));
  list(writer, OPTIONAL_TRANSITIVE, ATTRIBUTE.communities, attributes.communities, (value) => writer.u32(value));
  if (originatorId !== undefined) attribute(writer, FLAG.optional, ATTRIBUTE.originatorId, () => writer.u32(originatorId));
  list(writer, FLAG.optional, ATTRIBUTE.clusterList, attributes.clusterList, (value) => writer.u32(value));
  list(writer, OPTIONAL_TRANSITIVE, ATTRIBUTE.extendedCommunities, attributes.extendedCommunities, (value) => {
    writer.u32(Number(value >> 32n));
    writer.u32(Number(value & 0xffffffffn));
  });
  if (!options.fourByteAs) writeFourByte(writer, attributes);
  list(writer, OPTIONAL_TRANSITIVE, ATTRIBUTE.largeCommunities, attributes.largeCommunities, (value) => {
    for (const part of value) writer.u32(part);
  });
  for (const other of attributes.others) attribute(writer, other.flags, other.type, () => writer.raw(other.value));
}

/** RFC 6793 §4.2.2: what does not fit in two bytes travels beside. */
function writeFourByte(writer: ByteWriter, { asPath, aggregator }: PathAttributes): void {
  const plain = asPath.filter(({ type }) => !type.startsWith("confed"));
  if (plain.some(({ ases }) => ases.some((as) => as > 65535)) && !asPathContains(plain, 0)) {
    attribute(writer, OPTIONAL_TRANSITIVE, ATTRIBUTE.as4Path, () => writeAsPath(writer, plain, 4));
  }
  if (aggregator && aggregator.as > 65535) {
    attribute(writer, OPTIONAL_TRANSITIVE, ATTRIBUTE.as4Aggregator, () => writeAggregator(writer, aggregator, 4));
  }
}

function writeAggregator(writer: ByteWriter, { as, routerId }: Aggregator, width: 2 | 4): void {
  if (width === 4) writer.u32(as);
  else writer.u16(as > 65535 ? AS_TRANS : as);
  writer.u32(routerId);
}

function list<T>(writer: ByteWriter, flags: number, type: number, items: readonly T[], write: (item: T) => void): void {
  if (items.length === 0) return;
  attribute(writer, flags, type, () => {
    for (const item of items) write(item);
  });
}

/** Writes one attribute; its length is one byte, or two where it must be. */
export function attribute(writer: ByteWriter, flags: number, type: number, body: () => void): void {
  writer.u8(flags & ~FLAG.extended);
  writer.u8(type);
  writer.u8(0);
  const start = writer.length;
  body();
  const length = writer.length - start;
  if (length < 256) {
    writer.bytes[start - 1] = length;
    return;
  }
  writer.u8(0);
  writer.bytes.copyWithin(start + 1, start, start + length);
  writer.bytes[start - 3] = flags | FLAG.extended;
  writer.patch16(start - 1, length);
}
