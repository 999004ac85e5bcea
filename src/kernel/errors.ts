// What the kernel refused: errno by number and name, what was being done to what.
import { constants } from "node:os";
import { FairleadError } from "../base/index.ts";

export interface KernelFailure {
  readonly errno: keyof typeof constants.errno;
  /** What was tried, as a verb. */
  readonly operation: string;
  /** What it was tried on. */
  readonly subject?: string | undefined;
  readonly says?: string | undefined;
}

/** The kernel said no. */
export class KernelError extends FairleadError {
  readonly errno: number;
  readonly errnoName: string;

  constructor({ errno, operation, subject, says }: KernelFailure) {
    super("kernel", `cannot ${operation}: ${errno}${says ? `: ${says}` : ""}`, { where: subject });
    this.errnoName = errno;
    this.errno = constants.errno[errno];
  }
}
