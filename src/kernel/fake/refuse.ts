// How the fake kernel says no: in the kernel's errnos.
import { type ErrnoName, KernelError } from "../errors.ts";

export function refuse(errno: ErrnoName, says: string, subject?: string): never {
  throw new KernelError({ errno, operation: "do this in the fake kernel", says, subject });
}
