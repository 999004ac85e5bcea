// Networks as policies write them, in every language.
import { formatPrefix, type IpPrefix, networkOf } from "../base/index.ts";

/** The network of a prefix in canonical text. `note` is told of host bits: an address where a network is meant, such as 10.1.2.3/8. */
export function networkText(text: string, prefix: IpPrefix, note: (says: string) => void): string {
  const network = formatPrefix(networkOf(prefix));
  if (network !== formatPrefix(prefix)) note(`${JSON.stringify(text)} is read as ${network}`);
  return network;
}
