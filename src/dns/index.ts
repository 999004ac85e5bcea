// The DNS room's face.
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
export { DNS_RESOURCES, slimObject } from "./plugins/kubernetes/watched.ts";
export type { Origin, Query, Reply } from "./query.ts";
export { explainName, type NameOrigin, type ObjectName } from "./resolver/explain.ts";
export type { Ask, LookupOptions, LookupResult } from "./resolver/lookup.ts";
export { type PodDns, type PodDnsOptions, podDns, resolvConf } from "./resolver/pod-conf.ts";
export { type AnswerDetails, type ToldQuery, type ToldQuestion, tellQuery, type WireReply } from "./resolver/query.ts";
export { formatResolvConf, parseResolvConf, type ResolvConf, type ResolverKind } from "./resolver/resolv-conf.ts";
export { type Alternative, alternatives, type Exchange, type Walk, type WalkStep, walkLookup } from "./resolver/walk.ts";
export { DnsServeError } from "./serve/errors.ts";
export type { LookupReport, WatchedLookup } from "./serve/lookup-watch.ts";
export { spareMemory } from "./serve/memory.ts";
export { type CheckedBlock, checkCorefile, type OfflineAnswer, type OfflineDns, openOffline } from "./serve/offline.ts";
export { type DnsProcessOptions, type DnsReport, type DnsRequest, runDns } from "./serve/process.ts";
export { type DnsOptions, type DnsServer as RunningDns, type DnsStatus, startDns } from "./serve/start.ts";
export { formatData, formatRecord } from "./text/format.ts";
export { decodeMessage, encodeMessage, queryMessage } from "./wire/codec.ts";
export { DnsFormatError } from "./wire/errors.ts";
export { labelsOf } from "./wire/names.ts";
