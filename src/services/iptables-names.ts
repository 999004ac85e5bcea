// The names of chains in the iptables mode, which are those that kube-proxy gives, so that what people know of them holds.
import { createHash } from "node:crypto";
import type { ServiceEndpoint, ServiceEntry } from "./entry.ts";

export interface ChainNames {
  /** "namespace/name:port", as it stands in comments. */
  readonly port: string;
  /** Picks among all end points. */
  readonly service: string;
  /** Picks among the node's own. */
  readonly local: string;
  /** Where external addresses and node ports lead. */
  readonly external: string;
  /** Who may come in to the load balancer's addresses. */
  readonly firewall: string;
  endpoint(endpoint: ServiceEndpoint): string;
}

/** Names of an entry's chains: 16 characters of a hash of the port's full name, the protocol and, of an end point, where it is. */
export function chainNames(entry: ServiceEntry): ChainNames {
  const port = portName(entry);
  const hash = hashOf(`${port}${entry.protocol}`);
  return {
    port,
    service: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
    endpoint: (endpoint) => `KUBE-SEP-${hashOf(`${port}${entry.protocol}${placeOf(endpoint)}`)}`,
  };
}

/** "10.244.1.7:8080", "[fd00:10:244:1::7]:8080" */
export function placeOf({ address, port }: Pick<ServiceEndpoint, "address" | "port">): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** A port without a name has its number as name in the table, and no name here. */
function portName({ namespace, name, portName: port }: ServiceEntry): string {
  return /^\d+$/.test(port) ? `${namespace}/${name}` : `${namespace}/${name}:${port}`;
}

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/** The first 16 characters of the base32 (RFC 4648 §6) of a SHA-256. */
function hashOf(text: string): string {
  const digest = createHash("sha256").update(text).digest();
  let bits = 0n;
  for (const byte of digest.subarray(0, 10)) bits = (bits << 8n) | BigInt(byte);
  return Array.from({ length: 16 }, (_, at) => ALPHABET[Number((bits >> BigInt(75 - 5 * at)) & 31n)]).join("");
}
