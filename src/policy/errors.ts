// What can go wrong in the policy room.
import { FairleadError } from "../base/index.ts";

/** Codes: `unknown-pod`, `unknown-node`, `bad-address`. */
export class PolicyError extends FairleadError {}
