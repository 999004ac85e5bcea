// The address that a reverse name stands for.
import { formatAddress, tryParseAddress } from "../../../base/index.ts";
import type { Name } from "../../message.ts";

/** "1.0.0.10.in-addr.arpa." → "10.0.0.1"; undefined for any other name. In lower case. */
export function addressOfReverse(name: Name): string | undefined {
  const four = /^((?:\d{1,3}\.){4})in-addr\.arpa\.$/.exec(name)?.[1];
  if (four !== undefined) return formatted(four.split(".").slice(0, 4).reverse().join("."));
  const six = /^((?:[0-9a-f]\.){32})ip6\.arpa\.$/.exec(name)?.[1];
  if (six === undefined) return undefined;
  const nibbles = six.split(".").slice(0, 32).reverse().join("");
  return formatted((nibbles.match(/.{4}/g) ?? []).join(":"));
}

function formatted(text: string): string | undefined {
  const address = tryParseAddress(text);
  return address ? formatAddress(address) : undefined;
}
