// The kernel room's errors: what the kernel refused, with its errno kept as a number and a name.
import { constants } from "node:os";
import { FairleadError } from "../base/index.ts";

export interface KernelErrorDetails {
  readonly where?: string;
  readonly remedy?: string;
  readonly cause?: unknown;
}

/** The kernel said no. `code` is the errno's name in lower case ("eexist"). */
export class KernelError extends FairleadError {
  readonly errno: number;
  readonly errnoName: string;

  constructor(errnoName: string, message: string, details: KernelErrorDetails = {}) {
    super(errnoName.toLowerCase(), message, details);
    this.errnoName = errnoName;
    this.errno = (constants.errno as Record<string, number>)[errnoName] ?? 0;
  }
}
