// Keys of server blocks and zones in arguments: names, reverse zones of prefixes, ports.
import { addressAt, addressBits, type IpPrefix, networkOf, tryParsePrefix } from "../../base/index.ts";
import type { Name } from "../message.ts";
import { toName } from "../wire/names.ts";
import { CorefileError } from "./errors.ts";
import type { Argument } from "./parse.ts";

interface Key {
  /** One zone; several where a prefix does not end at a label (10.96.0.0/12 is sixteen). */
  readonly zones: readonly Name[];
  readonly port: number;
}

const DNS_PORT = 53;

/** Reads a server block's key: [dns://]ZONE[:PORT]. @throws CorefileError */
export function parseKey(key: Argument, defaultPort = DNS_PORT): Key {
  const scheme = /^([a-z0-9]+):\/\//.exec(key.text)?.[1];
  if (scheme !== undefined && scheme !== "dns")
    throw new CorefileError(
      key.place,
      `${scheme}:// is not served here`,
      "serve plain DNS (dns://) by UDP and TCP, and put what ends TLS before it",
    );
  const rest = scheme === undefined ? key.text : key.text.slice("dns://".length);
  const colon = rest.lastIndexOf(":");
  const port = colon < 0 ? undefined : rest.slice(colon + 1);
  if (port !== undefined && (!/^\d{1,5}$/.test(port) || Number(port) > 65_535))
    throw new CorefileError(key.place, `"${port}" is no port`, "ports go from 0 to 65535");
  const zones = zonesOf(colon < 0 ? rest : rest.slice(0, colon));
  if (!zones) throw new CorefileError(key.place, `"${key.text}" is no zone`, "write it like cluster.local:53, 10.96.0.0/12 or .:53");
  return { zones, port: port === undefined ? defaultPort : Number(port) };
}

/** The zones that a text stands for: a name, or the reverse zones of a prefix. Undefined if it is neither. */
export function zonesOf(text: string): Name[] | undefined {
  const prefix = tryParsePrefix(text);
  if (prefix) return reverseZones(prefix);
  const name = text.includes("/") ? undefined : toName(text);
  return name === undefined ? undefined : [name];
}

/** Zones in arguments; the block's own where there are none. @throws CorefileError */
export function zonesOrBlock(args: readonly Argument[], block: readonly Name[]): readonly Name[] {
  if (args.length === 0) return block;
  return args.flatMap((argument) => {
    const zones = zonesOf(argument.text);
    if (!zones) throw new CorefileError(argument.place, `"${argument.text}" is no zone`, "write it like cluster.local or 10.96.0.0/12");
    return zones;
  });
}

/** in-addr.arpa has a label for each byte, ip6.arpa for each four bits. */
function reverseZones(prefix: IpPrefix): Name[] {
  const step = prefix.family === 4 ? 8 : 4;
  const network = networkOf(prefix);
  const length = Math.ceil(prefix.length / step) * step;
  const count = 1 << (length - prefix.length);
  const size = 1n << BigInt(addressBits(prefix.family) - length);
  return Array.from({ length: count }, (_, index) => {
    const { value } = addressAt(network, BigInt(index) * size);
    const digits = length / step;
    const all = Array.from({ length: addressBits(prefix.family) / step }, (_unused, digit) =>
      ((value >> BigInt(digit * step)) & ((1n << BigInt(step)) - 1n)).toString(prefix.family === 4 ? 10 : 16),
    );
    return `${[...all.slice(all.length - digits), prefix.family === 4 ? "in-addr" : "ip6", "arpa"].join(".")}.`;
  });
}
