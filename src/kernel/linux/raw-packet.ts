// IP packets sent as they are, with a header of the caller's (raw(7), IPPROTO_RAW): routed and translated as if a program sent them.
import { closeSync } from "node:fs";
import { KernelError } from "../errors.ts";
import { C, call } from "./libc.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_RAW = 255;
/** struct sockaddr_in, struct sockaddr_in6 */
const LENGTHS = { 4: 16, 6: 28 } as const;

/** Sends a packet, IP header and all, in the thread's current namespace. @throws KernelError EINVAL, EMSGSIZE, ENETUNREACH, EPERM */
export function sendPacket(packet: Uint8Array): void {
  const version = (packet[0] ?? 0) >>> 4;
  if (version !== 4 && version !== 6)
    throw new KernelError({ operation: "send a packet", subject: "", errno: "EINVAL", says: "it has no IP header" });
  const address = Buffer.alloc(LENGTHS[version]);
  address.writeUInt16LE(version === 4 ? AF_INET : AF_INET6, 0);
  address.set(version === 4 ? packet.subarray(16, 20) : packet.subarray(24, 40), version === 4 ? 4 : 8);
  const failure = { operation: "send a packet", subject: version === 4 ? packet.subarray(16, 20).join(".") : "an IPv6 address" };
  const fd = call("socket", [version === 4 ? AF_INET : AF_INET6, C.SOCK_RAW | C.SOCK_CLOEXEC, IPPROTO_RAW], failure);
  try {
    call("sendto", [fd, packet, packet.length, C.MSG_DONTWAIT, address, address.length], failure);
  } finally {
    closeSync(fd);
  }
}
