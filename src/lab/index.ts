// The face of the lab room.
export { storeWriter } from "./control/store-writer.ts";
export type { DnsPodReport } from "./dns/dns-pods.ts";
export { FABRIC } from "./fabric.ts";
export { hostsFile } from "./kubelet/pod-files.ts";
export type { LabOptions } from "./lab.ts";
export { type ForeignServer, isUp, launchLab, removeRemains, takeDown } from "./launch.ts";
export type { ExecPlace, LabStatus, MatrixAnswer, MatrixParams, Served } from "./methods.ts";
export { DEFAULT_NETWORKS } from "./networks.ts";
export { labPaths, labsDirectory, listKept, listLabs } from "./paths.ts";
export { asksForRouted, networkObjects } from "./pools.ts";
export type { ProbeOptions, ProbeResult } from "./probing.ts";
export type { Readiness } from "./ready.ts";
export { callRpc } from "./rpc.ts";
export { DEFAULT_COREFILE } from "./system.ts";
export { enterCommand } from "./workload/sandbox.ts";
