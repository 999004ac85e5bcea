// Which network namespace the calling thread is in, and the only way to change it: enter, act, return.
import { closeSync, fstatSync, openSync } from "node:fs";
import { KernelError } from "../errors.ts";
import { C, call, errno, libc } from "./libc.ts";

const ROOTLESS = "start the process in a network namespace of its own as well: unshare -Urnm, not unshare -Ur";

let home: number | undefined;
let current: number | undefined;

/** A descriptor of the namespace that this thread started in. Never closed. */
export function homeFd(): number {
  if (home === undefined) {
    home = openSync("/proc/thread-self/ns/net", "r");
    current = home;
  }
  return home;
}

/** Runs `action` with the thread in the namespace behind `fd`, and returns whatever happens. Nests. @throws KernelError EPERM; EINVAL if `action` is asynchronous */
export function runInside<T>(fd: number, action: () => T): T {
  homeFd();
  const before = current as number;
  if (before === fd) return checked(action());
  enter(fd);
  try {
    return checked(action());
  } finally {
    enter(before);
  }
}

/** Makes a namespace and returns a descriptor that holds it. @throws KernelError EPERM, ENOSPC */
export function makeNamespace(): number {
  homeFd();
  const before = current as number;
  // In a user namespace that does not own the thread's network namespace the way back is closed: find out before leaving.
  if (libc("setns")(before, C.CLONE_NEWNET) !== 0) {
    throw new KernelError({
      errno: errno(),
      operation: "return to this network namespace",
      ...(process.getuid?.() === 0 ? { remedy: ROOTLESS } : {}),
    });
  }
  call("unshare", [C.CLONE_NEWNET], { operation: "make a network namespace" });
  try {
    return openSync("/proc/thread-self/ns/net", "r");
  } finally {
    enter(before);
  }
}

/** Opens a path to a namespace. @throws KernelError ENOENT, EACCES; EINVAL if it is something else */
export function openNamespaceFd(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    const number = (cause as NodeJS.ErrnoException).errno ?? 5;
    throw new KernelError({ errno: number, operation: "open network namespace", subject: path, cause });
  }
  if (libc("ioctl")(fd, C.NS_GET_NSTYPE, null) === C.CLONE_NEWNET) return fd;
  closeSync(fd);
  throw new KernelError({
    errno: "EINVAL",
    operation: "open network namespace",
    subject: path,
    says: "this is no network namespace",
    remedy: "give a path such as /proc/7/ns/net or /run/netns/name",
  });
}

export function inodeOf(fd: number): number {
  return fstatSync(fd).ino;
}

function enter(fd: number): void {
  call("setns", [fd, C.CLONE_NEWNET], { operation: "enter network namespace" });
  current = fd;
}

function checked<T>(result: T): T {
  if (result instanceof Promise) {
    throw new KernelError({
      errno: "EINVAL",
      operation: "run in a network namespace",
      says: "the action is asynchronous, so it would go on outside",
    });
  }
  return result;
}
