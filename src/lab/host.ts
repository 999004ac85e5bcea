// What a lab needs of the machine, programs and privileges, looked for before anything is made.
import { readFileSync } from "node:fs";
import { FairleadError } from "../base/index.ts";
import { findProgram } from "./workload/sandbox.ts";

const NEEDED = [
  ["unshare", "util-linux", "isolates the lab's programs"],
  ["setpriv", "util-linux", "takes from a pod's programs what a container may not do"],
] as const;

/** @throws FairleadError `no-tool` naming the package */
export function checkTools(): void {
  for (const [program, debian, purpose] of NEEDED) {
    if (findProgram(program, process.env.PATH)) continue;
    throw new FairleadError("no-tool", `the program ${program} is not on this machine's PATH: it ${purpose}`, {
      remedy: `Debian: apt-get install ${debian}`,
    });
  }
}

/** Bits of linux/capability.h. */
const CAPABILITIES = [
  [12, "CAP_NET_ADMIN"],
  [21, "CAP_SYS_ADMIN"],
] as const;

/** Whether root may do here what root can do; in a container it often may not. @throws FairleadError `no-privilege` */
export function checkPrivileges(): void {
  const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"}`);
  const lacking = CAPABILITIES.filter(([bit]) => ((mask >> BigInt(bit)) & 1n) === 0n).map(([, name]) => name);
  if (lacking.length === 0) return;
  throw new FairleadError("no-privilege", `root has no ${lacking.join(" and no ")} here, and can't make network namespaces`, {
    remedy: "in a container: run it with --privileged; else run as an ordinary user who may make user namespaces",
  });
}
