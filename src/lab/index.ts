// The face of the lab room.
export { FABRIC } from "./fabric.ts";
export type { LabOptions } from "./lab.ts";
export { isUp, launchLab, removeRemains, takeDown } from "./launch.ts";
export type { ExecPlace, LabStatus, MatrixAnswer, MatrixParams } from "./methods.ts";
export { DEFAULT_NETWORKS } from "./networks.ts";
export { labPaths, labsDirectory, listLabs } from "./paths.ts";
export { asksForRouted, networkObjects } from "./pools.ts";
export type { ProbeOptions, ProbeResult } from "./probing.ts";
export type { Readiness } from "./ready.ts";
export { callRpc } from "./rpc.ts";
export { podCommand } from "./workload/command.ts";
