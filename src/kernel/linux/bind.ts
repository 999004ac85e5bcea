// Sockets of Node's net and dgram, made where Node cannot make them: bound inside another namespace.
import { closeSync } from "node:fs";
import { addressToBytes, parseAddress } from "../../base/index.ts";
import { KernelError } from "../errors.ts";
import type { SocketOptions } from "../kernel.ts";
import { AF_INET, AF_INET6 } from "../netlink/family.ts";
import { C, call, setOption } from "./libc.ts";

/** Makes a bound (TCP: listening) socket in the thread's current namespace. @throws KernelError EADDRINUSE, EADDRNOTAVAIL, EACCES; FairleadError `bad-address` */
export function makeBoundSocket(options: SocketOptions): number {
  const address = parseAddress(options.address);
  const subject = address.family === 6 ? `[${options.address}]:${options.port}` : `${options.address}:${options.port}`;
  const failure = { operation: `bind ${options.protocol} socket`, subject };
  if (!Number.isInteger(options.port) || options.port < 0 || options.port > 65535) {
    throw new KernelError({ ...failure, errno: "EINVAL", says: "a port is a number from 0 to 65535" });
  }
  const type = options.protocol === "tcp" ? C.SOCK_STREAM : C.SOCK_DGRAM;
  const domain = address.family === 4 ? AF_INET : AF_INET6;
  const fd = call("socket", [domain, type | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0], failure);
  try {
    // As Node does for TCP: a restarted server takes its port over connections that linger.
    if (options.reuseAddress ?? options.protocol === "tcp") setOption(fd, C.SOL_SOCKET, C.SO_REUSEADDR, 1);
    if (options.reusePort) setOption(fd, C.SOL_SOCKET, C.SO_REUSEPORT, 1);
    if (address.family === 6) setOption(fd, C.IPPROTO_IPV6, C.IPV6_V6ONLY, options.v6only ? 1 : 0);
    const bytes = Buffer.alloc(address.family === 4 ? 16 : 28);
    bytes.writeUInt16LE(domain, 0);
    bytes.writeUInt16BE(options.port, 2);
    bytes.set(addressToBytes(address), address.family === 4 ? 4 : 8);
    call("bind", [fd, bytes, bytes.length], failure);
    if (options.protocol === "tcp") call("listen", [fd, options.backlog ?? 511], { ...failure, operation: "listen on tcp socket" });
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Makes a socket in the thread's current namespace that is neither bound nor connected. @throws KernelError EMFILE, EAFNOSUPPORT */
export function makeSocket(protocol: "tcp" | "udp", family: 4 | 6): number {
  const type = protocol === "tcp" ? C.SOCK_STREAM : C.SOCK_DGRAM;
  return call("socket", [family === 4 ? AF_INET : AF_INET6, type | C.SOCK_CLOEXEC | C.SOCK_NONBLOCK, 0], {
    operation: `open ${protocol} socket`,
  });
}
