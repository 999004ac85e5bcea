// The DNS room's face.
export { type Answer, answerCluster, type ZoneOptions } from "./cluster-zone.ts";
export { CorefileError } from "./corefile/index.ts";
export {
  CLASS,
  className,
  type Edns,
  type Message,
  type Name,
  type Question,
  RCODE,
  type RecordData,
  type ResourceRecord,
  rcodeName,
  TYPE,
  typeCode,
  typeName,
  typeOf,
} from "./message.ts";
export { type DnsNetwork, hostNetwork, namespaceNetwork, type SocketMaker, type UdpPort } from "./network.ts";
export type { Answered, DnsLog } from "./plugin.ts";
export type { Origin, Query, Reply } from "./query.ts";
export { type ResolverOptions, resolvConf } from "./resolv-conf.ts";
export { DnsServeError } from "./serve/errors.ts";
export { type DnsOptions, type DnsServer as RunningDns, type DnsStatus, startDns } from "./serve/start.ts";
export { createDnsServer, type DnsServer, type DnsSockets } from "./server.ts";
export { serveUpstream } from "./upstream.ts";
export { decodeMessage, encodeMessage, queryMessage } from "./wire/codec.ts";
export { DnsFormatError } from "./wire/errors.ts";
export { labelsOf } from "./wire/names.ts";
