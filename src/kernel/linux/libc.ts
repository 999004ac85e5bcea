// The C library as far as Node does not offer it: namespaces, raw sockets, epoll. Loaded at the first call.
import { createRequire } from "node:module";
import type * as Koffi from "koffi";
import { KernelError, type KernelFailure } from "../errors.ts";

/** Constants of linux/sched.h, linux/socket.h and friends; the same on x86-64 and arm64. */
export const C = {
  CLONE_NEWNET: 0x40000000,
  AF_NETLINK: 16,
  SOCK_STREAM: 1,
  SOCK_DGRAM: 2,
  SOCK_RAW: 3,
  SOCK_NONBLOCK: 0x800,
  SOCK_CLOEXEC: 0x80000,
  SOL_SOCKET: 1,
  SO_REUSEADDR: 2,
  SO_SNDBUF: 7,
  SO_RCVBUF: 8,
  SO_REUSEPORT: 15,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  IPPROTO_IPV6: 41,
  IPV6_V6ONLY: 26,
  SOL_NETLINK: 270,
  NETLINK_ADD_MEMBERSHIP: 1,
  NETLINK_CAP_ACK: 10,
  NETLINK_EXT_ACK: 11,
  NETLINK_GET_STRICT_CHK: 12,
  MSG_DONTWAIT: 0x40,
  MSG_TRUNC: 0x20,
  SIOCGIFNAME: 0x8910,
  SIOCGIFINDEX: 0x8933,
  NS_GET_NSTYPE: 0xb703,
  EPOLL_CLOEXEC: 0x80000,
  EPOLL_CTL_ADD: 1,
  EPOLL_CTL_DEL: 2,
  EPOLLIN: 1,
  EFD_CLOEXEC: 0x80000,
  EFD_NONBLOCK: 0x800,
  RLIMIT_NOFILE: 7,
  MFD_CLOEXEC: 1,
} as const;

const PROTOTYPES = {
  setns: "int setns(int fd, int type)",
  unshare: "int unshare(int flags)",
  socket: "int socket(int domain, int type, int protocol)",
  bind: "int bind(int fd, const void *address, uint32_t length)",
  listen: "int listen(int fd, int backlog)",
  setsockopt: "int setsockopt(int fd, int level, int name, const void *value, uint32_t length)",
  getsockopt: "int getsockopt(int fd, int level, int name, void *value, void *length)",
  send: "int64_t send(int fd, const void *data, size_t length, int flags)",
  sendto: "int64_t sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)",
  recv: "int64_t recv(int fd, void *data, size_t length, int flags)",
  ioctl: "int ioctl(int fd, unsigned long request, void *argument)",
  epoll_create1: "int epoll_create1(int flags)",
  epoll_ctl: "int epoll_ctl(int epoll, int operation, int fd, const void *event)",
  epoll_wait: "int epoll_wait(int epoll, void *events, int count, int timeout)",
  eventfd: "int eventfd(unsigned int value, int flags)",
  getrlimit: "int getrlimit(int resource, void *limit)",
  setrlimit: "int setrlimit(int resource, const void *limit)",
  memfd_create: "int memfd_create(const char *name, unsigned int flags)",
  syscall: "long syscall(long number, long first, long second, long third)",
  malloc_trim: "int malloc_trim(size_t kept)",
  waitpid: "int waitpid(int pid, void *status, int options)",
  posix_spawn:
    "int posix_spawn(void *pid, const char *path, const void *actions, const void *attributes, const char **argv, const char **envp)",
  posix_spawn_file_actions_init: "int posix_spawn_file_actions_init(void *actions)",
  posix_spawn_file_actions_adddup2: "int posix_spawn_file_actions_adddup2(void *actions, int fd, int as)",
  posix_spawn_file_actions_destroy: "int posix_spawn_file_actions_destroy(void *actions)",
  posix_spawnattr_init: "int posix_spawnattr_init(void *attributes)",
  posix_spawnattr_setflags: "int posix_spawnattr_setflags(void *attributes, short flags)",
  posix_spawnattr_setsigdefault: "int posix_spawnattr_setsigdefault(void *attributes, const void *signals)",
  posix_spawnattr_setsigmask: "int posix_spawnattr_setsigmask(void *attributes, const void *signals)",
} as const;

type Name = keyof typeof PROTOTYPES;

/** A function of the C library, with its asynchronous form. */
export type LibcFunction = ReturnType<Koffi.LibraryHandle["func"]>;

let koffi: typeof Koffi | undefined;
let library: Koffi.LibraryHandle | undefined;
const functions = new Map<Name, LibcFunction>();

/** A function of the C library as it is; -1 means failure, and koffi.errno() tells why. */
export function libc(name: Name): LibcFunction {
  let found = functions.get(name);
  if (!found) {
    koffi ??= createRequire(import.meta.url)("koffi") as typeof Koffi;
    library ??= koffi.load(null);
    found = library.func(PROTOTYPES[name]);
    functions.set(name, found);
  }
  return found;
}

/** Where the bytes lie; they stay there as long as somebody holds them. */
export function addressOf(bytes: Uint8Array): number {
  libc("syscall");
  return Number(koffi?.address(bytes) ?? 0);
}

/** The errno of the last failed call on this thread. */
export function errno(): number {
  return koffi?.errno() ?? 0;
}

/** Calls, and turns -1 into a KernelError. */
export function call(name: Name, args: readonly unknown[], failure?: Partial<Omit<KernelFailure, "errno">>): number {
  const result = Number(libc(name)(...args));
  if (result < 0) throw new KernelError({ operation: name, ...failure, errno: errno() });
  return result;
}

/** Gives memory that the C library has freed and keeps back to the system, where it can (glibc). */
export function trimMemory(): void {
  try {
    libc("malloc_trim")(0);
  } catch {
    // musl has no such function, and nothing to give back.
  }
}

/** Sets an integer option of a socket; whether it worked. */
export function setOption(fd: number, level: number, name: number, value: number): boolean {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return libc("setsockopt")(fd, level, name, bytes, 4) === 0;
}

/** Lifts this process's limit of open files to the most it may have: a namespace holds up to three descriptors. */
export function liftFileLimit(): void {
  const limit = Buffer.alloc(16);
  if (libc("getrlimit")(C.RLIMIT_NOFILE, limit) !== 0) return;
  if (limit.readBigUInt64LE(0) >= limit.readBigUInt64LE(8)) return;
  limit.copy(limit, 0, 8, 16);
  libc("setrlimit")(C.RLIMIT_NOFILE, limit);
}
