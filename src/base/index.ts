// The face of the ground floor: what every other room may use, and which uses nothing itself.
export { deadline } from "./deadline.ts";
export { type ErrorDetails, FairleadError, messageOf } from "./errors.ts";
export {
  addressAt,
  addressBits,
  addressFromBytes,
  addressToBytes,
  compareAddresses,
  type Family,
  familyOf,
  formatAddress,
  formatPrefix,
  freeSubnet,
  hostOfUrl,
  type IpAddress,
  type IpPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
  prefixSize,
  tryParseAddress,
  tryParsePrefix,
  urlHost,
} from "./ip.ts";
export { PORT_PROTOCOLS, protocolTitle, TRANSPORTS, type Transport, transportName } from "./protocols.ts";
export { textTable, width } from "./text-table.ts";
