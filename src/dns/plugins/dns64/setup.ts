// The directive dns64: dns64 [PREFIX] { prefix PREFIX; translate_all; allow_ipv4 }
import { formatPrefix, type IpPrefix, parsePrefix, tryParsePrefix } from "../../../base/index.ts";
import { type Argument, argument, CorefileError, expectArgs, onlyOnce, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { type Dns64Options, translated } from "./dns64.ts";

const WELL_KNOWN = parsePrefix("64:ff9b::/96");
const LENGTHS = [32, 40, 48, 56, 64, 96];

export const dns64: Plugin = {
  name: "dns64",
  setup(directives, { server, host }) {
    const directive = onlyOnce(directives);
    const [given] = expectArgs(directive, 0, 1);
    const options = { prefix: given ? prefixOf(given) : WELL_KNOWN, translateAll: false, allowIpv4: false } as {
      -readonly [K in keyof Dns64Options]: Dns64Options[K];
    };
    for (const option of directive.body ?? []) {
      if (option.name === "prefix") options.prefix = prefixOf(argument(option, 0));
      else if (option.name === "translate_all") options.translateAll = true;
      else if (option.name === "allow_ipv4") options.allowIpv4 = true;
      else throw unknownOption("dns64", option, ["prefix", "translate_all", "allow_ipv4"]);
    }
    const count = host.metrics.counter("coredns_dns64_requests_translated_total", "Counter of DNS requests translated by dns64.", [
      "server",
    ]);
    return { handler: (next) => translated(next, options, () => count.with(server).inc()) };
  },
};

function prefixOf({ text, place }: Argument): IpPrefix {
  const prefix = tryParsePrefix(text);
  if (prefix?.family !== 6) throw new CorefileError(place, `"${text}" is no IPv6 prefix`, `write it like ${formatPrefix(WELL_KNOWN)}`);
  if (!LENGTHS.includes(prefix.length))
    throw new CorefileError(
      place,
      `an IPv4 address is put into prefixes of ${LENGTHS.join(", ")} bits (RFC 6052), not of ${prefix.length}`,
    );
  return prefix;
}
