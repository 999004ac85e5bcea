// The kernel room's face.
export { diffState } from "./diff.ts";
export { isErrno, KernelError } from "./errors.ts";
export { createFakeKernel, type FakeKernel } from "./fake/kernel.ts";
export { type ChainChanges, chainChanges, deriveIptables } from "./iptables/derived.ts";
export { type IptablesOwnership, isMarked, sweepIptables } from "./iptables/diff.ts";
export { netfilterTables } from "./iptables/translate.ts";
export type { IpvsOwnership } from "./ipvs/lingering.ts";
export type * from "./kernel.ts";
export { interfaceOfSysctl } from "./keys.ts";
export { makeBoundSocket } from "./linux/bind.ts";
export { requireFullTtl } from "./linux/datagram-options.ts";
export { createLinuxKernel } from "./linux/kernel.ts";
export { checkNftables } from "./linux/nftables.ts";
export { type ProgramEnd, runProgram } from "./linux/program.ts";
export { setTcpSignature, setTtlSecurity } from "./linux/tcp-options.ts";
export { type SignatureCounters, signatureCounters, type TcpConnection, tcpConnections } from "./linux/tcp-state.ts";
export { openTerminal, type Terminal } from "./linux/terminal.ts";
export { deriveList, isFollowed, listChanges } from "./list-changes.ts";
export type * from "./netfilter.ts";
export { ipvsKey } from "./netlink/ipvs.ts";
export { deriveSet, type ElementChanges, setChanges } from "./nft/derived.ts";
export { diffTable } from "./nft/diff.ts";
export { dscpNumber } from "./nft/dscp.ts";
export { formatOwner, parseOwner } from "./nft/owner.ts";
export { printRule, printTable } from "./nft/print.ts";
export type * from "./reconcile.ts";
export { createReconciler } from "./reconciler.ts";
export { localRoute } from "./route-diff.ts";
export type * from "./state.ts";
export { EMPTY_STATE, MAIN_TABLE, mergeStates, ROUTE_PROTOCOL, USUAL_GSO_MAX_SIZE } from "./state.ts";
export type { ChangeStep, ObjectKind } from "./steps.ts";
export {
  type Balanced,
  balancePacket,
  type Drops,
  evaluateHook,
  type HookName,
  type HookResult,
  IPVS_OUTPUT_PRIORITY,
  isOwnAddress,
  ManyWalk,
  makePacket,
  onTheWire,
  type Packet,
  type Protocol,
  type Routing,
  type RuleStep,
  routePacket,
  sourceOn,
} from "./walk/index.ts";
