// The DNS room's face.
export { type Answer, answerCluster, type ZoneOptions } from "./cluster-zone.ts";
export { CLASS, type Message, type Question, RCODE, type ResourceRecord, TYPE } from "./message.ts";
export { type ResolverOptions, resolvConf } from "./resolv-conf.ts";
export { createDnsServer, type DnsServer, type DnsSockets } from "./server.ts";
export { serveUpstream } from "./upstream.ts";
export { DnsFormatError, decodeMessage, encodeMessage } from "./wire.ts";
