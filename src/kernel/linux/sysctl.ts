// Kernel settings by /proc/sys, as the thread's current namespace shows them.
import { readFileSync, writeFileSync } from "node:fs";
import { KernelError } from "../errors.ts";

/** Path of "net.ipv4.conf.eth0/100.rp_filter": dots part the names, "/" stands for a dot within one. @throws KernelError EINVAL for a key that leads elsewhere */
function sysctlPath(key: string): string {
  const names = key.split(".").map((name) => name.replaceAll("/", "."));
  if (names.some((name) => name === "" || name === "." || name === ".." || name.includes("\0"))) {
    throw new KernelError({ errno: "EINVAL", operation: "name a sysctl", subject: key, remedy: "write it like net.ipv4.ip_forward" });
  }
  return `/proc/sys/${names.join("/")}`;
}

/** Undefined where there is no such key. @throws KernelError EACCES, EINVAL */
export function readSysctl(key: string): string | undefined {
  try {
    return readFileSync(sysctlPath(key), "utf8").trimEnd();
  } catch (cause) {
    const failure = cause as NodeJS.ErrnoException;
    if (failure.code === "ENOENT") return undefined;
    throw sysctlError("read sysctl", key, cause);
  }
}

/** @throws KernelError ENOENT, EACCES, EINVAL */
export function writeSysctl(key: string, value: string): void {
  try {
    writeFileSync(sysctlPath(key), value, { flag: "r+" });
  } catch (cause) {
    throw sysctlError(`write sysctl "${value}"`, key, cause);
  }
}

function sysctlError(operation: string, key: string, cause: unknown): unknown {
  const { errno } = cause as NodeJS.ErrnoException;
  if (cause instanceof KernelError || errno === undefined) return cause;
  return new KernelError({ errno, operation, subject: key, cause });
}
