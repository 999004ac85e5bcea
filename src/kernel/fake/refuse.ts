// How the fake kernel says no: in the kernel's errnos.
import { KernelError } from "../errors.ts";

export function refuse(errnoName: string, what: string, where?: string): never {
  throw new KernelError(errnoName, `fake kernel: ${what}`, where === undefined ? {} : { where });
}
