// The address that a name below in-addr.arpa or ip6.arpa stands for (RFC 1035 §3.5, RFC 3596 §2.5).
import { formatAddress, tryParseAddress } from "../../../base/index.ts";
import type { Name } from "../../message.ts";

/** In canonical text; undefined where the name is no whole address. In lower case. */
export function reverseAddress(name: Name): string | undefined {
  const v4 = name.endsWith(".in-addr.arpa.");
  if (!v4 && !name.endsWith(".ip6.arpa.")) return undefined;
  const parts = name
    .slice(0, v4 ? -".in-addr.arpa.".length : -".ip6.arpa.".length)
    .split(".")
    .reverse();
  if (v4 && parts.length !== 4) return undefined;
  if (!v4 && (parts.length !== 32 || parts.some((part) => !/^[0-9a-f]$/.test(part)))) return undefined;
  const text = v4 ? parts.join(".") : (parts.join("").match(/.{4}/g) ?? []).join(":");
  const address = tryParseAddress(text);
  return address && formatAddress(address);
}
