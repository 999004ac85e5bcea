// The DNS room's face.
export { type Answer, answerCluster, type ZoneOptions } from "./cluster-zone.ts";
export { CLASS, type Message, type Question, RCODE, type ResourceRecord, TYPE } from "./message.ts";
export type { LookupOptions, LookupResult } from "./resolver/lookup.ts";
export { type PodDns, type PodDnsOptions, podDns, resolvConf } from "./resolver/pod-conf.ts";
export { formatResolvConf, parseResolvConf, type ResolvConf, type ResolverKind } from "./resolver/resolv-conf.ts";
export { type Alternative, alternatives, type Exchange, type Walk, type WalkStep, walkLookup } from "./resolver/walk.ts";
export { createDnsServer, type DnsServer, type DnsSockets } from "./server.ts";
export { serveUpstream } from "./upstream.ts";
export { DnsFormatError, decodeMessage, encodeMessage } from "./wire.ts";
