// What the kernel refused: errno by number and name, what was being done to what, and a way out.
import { constants } from "node:os";
import { FairleadError } from "../base/index.ts";

/** Name of an errno, such as "EEXIST". */
export type ErrnoName = keyof typeof constants.errno;

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

const REMEDIES: Readonly<Record<string, string>> = {
  EPERM: "run as root, or as root of a user namespace that has a network namespace of its own: unshare -Urnm",
  EACCES: "run as root, or as root of a user namespace that has a network namespace of its own: unshare -Urnm",
  EBUSY: "something else holds it: look for another bridge, tunnel or process that uses it",
  ENODEV: "no such device in this namespace: see `ip link`",
  EEXIST: "it is there already: delete it first, or replace it",
  EOPNOTSUPP: "this kernel lacks the feature: see which modules `modprobe` can load",
  EAFNOSUPPORT: "this kernel, or this namespace, has the address family turned off",
  ENETUNREACH: "the gateway is not on the link: add an address first, or mark the next hop onlink",
  ENETDOWN: "set the link up first",
  EMFILE: "raise the limit of open files: ulimit -n",
  ENFILE: "raise fs.file-max",
  EADDRINUSE: "another socket has this address and port: see `ss -lntup`",
  EADDRNOTAVAIL: "no link of this namespace has the address: see `ip address`",
  ENOBUFS: "raise net.core.rmem_max",
  ENOSPC: "a limit of the kernel is reached, such as user.max_net_namespaces",
};

export interface KernelFailure {
  /** By name or number; a negative number is taken as positive. */
  readonly errno: ErrnoName | number;
  /** What was tried, as a verb: "add route", "setns". */
  readonly operation: string;
  /** What it was tried on: a device, a prefix, a path. */
  readonly subject?: string | undefined;
  /** The kernel's own words (netlink's extended acknowledgement), where it gave any. */
  readonly says?: string | undefined;
  readonly remedy?: string | undefined;
  readonly cause?: unknown;
  /** Error code; default `kernel`. */
  readonly code?: string | undefined;
}

/** A refused kernel call. `errno` is the number, `errnoName` its name; `code` is `kernel` unless a subsystem has its own (`nft`). */
export class KernelError extends FairleadError {
  readonly errno: number;
  readonly errnoName: string;
  readonly operation: string;
  readonly subject: string | undefined;
  readonly says: string | undefined;

  constructor(failure: KernelFailure) {
    const errno = typeof failure.errno === "number" ? Math.abs(failure.errno) : constants.errno[failure.errno];
    const name = NAMES.get(errno) ?? `errno ${errno}`;
    const words = failure.says ? `: ${failure.says}` : "";
    super(failure.code ?? "kernel", `cannot ${failure.operation}: ${name}${words}`, {
      where: failure.subject,
      remedy: failure.remedy ?? REMEDIES[name],
      cause: failure.cause,
    });
    this.errno = errno;
    this.errnoName = name;
    this.operation = failure.operation;
    this.subject = failure.subject;
    this.says = failure.says;
  }
}

/** Whether `thrown` is a KernelError with one of the errnos. */
export function isErrno(thrown: unknown, ...names: readonly ErrnoName[]): thrown is KernelError {
  return thrown instanceof KernelError && names.some((name) => thrown.errnoName === name);
}
