// What a kernel does to one packet, calculated from a KernelState.
export { type Balanced, balancePacket, IPVS_OUTPUT_PRIORITY } from "./balance.ts";
export { evaluateHook, type HookName, type HookResult, type RuleStep } from "./hook.ts";
export { type Drops, ManyWalk } from "./many.ts";
export { makePacket, onTheWire, type Packet, type Protocol } from "./packet.ts";
export { isOwnAddress, type Routing, routePacket, sourceOn } from "./route.ts";
