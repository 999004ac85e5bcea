// Gives names that have IPv4 addresses only IPv6 addresses of a NAT64 prefix (RFC 6147, RFC 6052).
import { addressFromBytes, addressToBytes, formatAddress, type IpPrefix, networkOf, parseAddress } from "../../../base/index.ts";
import { CLASS, RCODE, type ResourceRecord, TYPE } from "../../message.ts";
import { alter, type Handler, mapReply, type Query, type Reply } from "../../query.ts";

export interface Dns64Options {
  readonly prefix: IpPrefix;
  /** Also where the name has IPv6 addresses of its own. */
  readonly translateAll: boolean;
  /** Also for askers that come by IPv4. */
  readonly allowIpv4: boolean;
}

/** What a made record lives where the denial has no SOA (RFC 6147 §5.1.7). */
const TTL = 600;

export function translated(next: Handler, options: Dns64Options, count: () => void): Handler {
  return {
    name: "dns64",
    serve(query) {
      if (!concerns(query, options)) return next.serve(query);
      return mapReply(next.serve(query), (own) => {
        // A server that fails for AAAA may still know A (RFC 6147 §5.1.2); a name that is not there has neither.
        const has = own.answers.some(({ data }) => data.type === "AAAA" && !isMapped(data.address));
        if (own.rcode === RCODE.NXDOMAIN || (has && !options.translateAll)) return own;
        return mapReply(next.serve(alter(query, { type: TYPE.A })), (four) => synthesize(own, four, options.prefix, count));
      });
    },
  };
}

function concerns({ type, class: klass, origin, edns, checkingDisabled }: Query, { allowIpv4 }: Dns64Options): boolean {
  if (type !== TYPE.AAAA || klass !== CLASS.IN || (!allowIpv4 && !origin.address.includes(":"))) return false;
  // Who checks signatures itself must get what is signed (RFC 6147 §5.5).
  return !(edns?.dnssecOk && checkingDisabled);
}

/** ::ffff:0:0/96 is no address to go to (RFC 6147 §5.1.4). */
function isMapped(address: string): boolean {
  return address.startsWith("::ffff:");
}

function synthesize(own: Reply, four: Reply, prefix: IpPrefix, count: () => void): Reply {
  if (!four.answers.some(({ data }) => data.type === "A")) return own;
  count();
  const soa = own.authorities.find(({ data }) => data.type === "SOA")?.data;
  const most = soa?.type === "SOA" ? soa.minimum : TTL;
  const answers = four.answers.map((record): ResourceRecord => {
    if (record.data.type !== "A") return record;
    return { ...record, ttl: Math.min(record.ttl, most), data: { type: "AAAA", address: embed(record.data.address, prefix) } };
  });
  return { ...four, answers, authorities: [], authenticData: false, by: "dns64" };
}

/** RFC 6052 §2.2: the four bytes after the prefix, leaving byte 8 zero. */
function embed(address: string, prefix: IpPrefix): string {
  const bytes = addressToBytes(networkOf(prefix)).slice();
  let at = prefix.length / 8;
  for (const byte of addressToBytes(parseAddress(address))) {
    if (at === 8) bytes[at++] = 0;
    bytes[at++] = byte;
  }
  return formatAddress(addressFromBytes(bytes));
}
