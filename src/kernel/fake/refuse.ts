// How the fake kernel says no: in the kernel's errnos.
import { KernelError, type KernelFailure } from "../errors.ts";

export function refuse(errno: KernelFailure["errno"], says: string, subject?: string): never {
  throw new KernelError({ errno, operation: "do this in the fake kernel", says, subject });
}
