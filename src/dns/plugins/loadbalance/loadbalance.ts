// Gives addresses and mail exchangers in another order each time, so that clients that take the first spread out.
import { type IpPrefix, prefixContains, tryParseAddress } from "../../../base/index.ts";
import type { ResourceRecord } from "../../message.ts";
import { type Handler, mapReply, type Reply } from "../../query.ts";

/** A handler that shuffles what `next` answers. Addresses within an earlier prefix come first. */
export function balanced(next: Handler, preferred: readonly IpPrefix[], random: () => number): Handler {
  const shuffled = (reply: Reply): Reply => {
    if (reply.answers.length < 2 && reply.additionals.length < 2) return reply;
    const answers = shuffle(reply.answers, preferred, random);
    const additionals = shuffle(reply.additionals, preferred, random);
    return answers === reply.answers && additionals === reply.additionals ? reply : { ...reply, answers, additionals };
  };
  return { name: "loadbalance", serve: (query) => mapReply(next.serve(query), shuffled) };
}

/** CNAMEs first in their order (a resolver follows them in it), then what is not shuffled, then addresses, then MX. */
function shuffle(records: readonly ResourceRecord[], preferred: readonly IpPrefix[], random: () => number): readonly ResourceRecord[] {
  const addresses = records.filter(isAddress);
  const exchangers = records.filter(({ data }) => data.type === "MX");
  if (addresses.length < 2 && exchangers.length < 2) return records;
  const aliases = records.filter(({ data }) => data.type === "CNAME");
  const rest = records.filter((record) => !isAddress(record) && record.data.type !== "CNAME" && record.data.type !== "MX");
  return [...aliases, ...rest, ...byPreference(mixed(addresses, random), preferred), ...mixed(exchangers, random)];
}

function isAddress({ data }: ResourceRecord): boolean {
  return data.type === "A" || data.type === "AAAA";
}

/** Fisher and Yates. */
function mixed(records: readonly ResourceRecord[], random: () => number): readonly ResourceRecord[] {
  const mixing = [...records];
  for (let i = mixing.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const [a, b] = [mixing[i], mixing[j]];
    if (a && b) [mixing[i], mixing[j]] = [b, a];
  }
  return mixing;
}

function byPreference(records: readonly ResourceRecord[], preferred: readonly IpPrefix[]): readonly ResourceRecord[] {
  if (preferred.length === 0) return records;
  const rank = ({ data }: ResourceRecord) => {
    const address = data.type === "A" || data.type === "AAAA" ? tryParseAddress(data.address) : undefined;
    const found = address ? preferred.findIndex((prefix) => prefixContains(prefix, address)) : -1;
    return found < 0 ? preferred.length : found;
  };
  return [...records].sort((a, b) => rank(a) - rank(b));
}
