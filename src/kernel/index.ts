// The kernel room's face.
export { isErrno, KernelError } from "./errors.ts";
export type * from "./kernel.ts";
export { createLinuxKernel } from "./linux/kernel.ts";
export type * from "./netfilter.ts";
export type * from "./reconcile.ts";
export type * from "./state.ts";
export { EMPTY_STATE, MAIN_TABLE, mergeStates, ROUTE_PROTOCOL } from "./state.ts";
