// The real Linux kernel.
import { openSync } from "node:fs";
import type { Kernel } from "../kernel.ts";
import { liftFileLimit } from "./libc.ts";
import { LinuxNamespace } from "./namespace.ts";
import { openNftables } from "./nftables.ts";
import { homeFd, makeNamespace, openNamespaceFd } from "./thread.ts";

/**
 * The kernel of this machine. Creating it touches nothing but the process's own limit of open files.
 * A namespace is entered by the calling thread: a handle belongs to the thread that made it.
 */
export function createLinuxKernel(): Kernel {
  liftFileLimit();
  return {
    createNamespace() {
      const namespace = new LinuxNamespace(makeNamespace(), openNftables);
      try {
        namespace.apply({ op: "set", link: { name: "lo", up: true } });
      } catch (error) {
        namespace.close();
        throw error;
      }
      return namespace;
    },
    openNamespace: (path) => new LinuxNamespace(openNamespaceFd(path), openNftables),
    hostNamespace: () => new LinuxNamespace(openSync(`/proc/thread-self/fd/${homeFd()}`, "r"), openNftables),
  };
}
