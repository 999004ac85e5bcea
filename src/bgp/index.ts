// The face of the BGP room.

export { type Bfd, type BfdPeer, type BfdTransport, startBfd } from "./bfd/bfd.ts";
export { BgpError } from "./errors.ts";
export type { Filter, FilterChange, FilterMatch, FilterStatement } from "./rib/filter.ts";
export type { LocalRoute, NextHop, RouteChange, RouteView } from "./rib/rib.ts";
export type { PeerConfig } from "./speaker/peer-config.ts";
export type { MonitorLine, PeerEvent, PeerStatus } from "./speaker/peer-events.ts";
export { type Replay, type ReplayedEvent, replayMonitor } from "./speaker/replay.ts";
export { type Speaker, type SpeakerOptions, startSpeaker } from "./speaker/speaker.ts";
export { type Clock, type ConnectRequest, type Expected, plainTransport, type Transport } from "./speaker/transport.ts";
export { formatRouterId } from "./wire/address-text.ts";
export { formatAsPath } from "./wire/as-path.ts";
export { attributesOf, type PathAttributes } from "./wire/attributes.ts";
export { formatCommunity, formatExtendedCommunity, formatLargeCommunity, parseCommunity } from "./wire/communities.ts";
export { decodeMessage, encodeMessage, type Message, PLAIN_CONTEXT } from "./wire/message.ts";
export { entriesOf, nlriOf } from "./wire/nlri.ts";
