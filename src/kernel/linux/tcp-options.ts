// Options of TCP sockets that routing protocols need and Node does not have: MD5 signatures and TTL security.
import { addressToBytes, parsePrefix } from "../../base/index.ts";
import { AF_INET, AF_INET6 } from "../netlink/family.ts";
import { call, setOption } from "./libc.ts";

const IPPROTO_IP = 0;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;
// linux/in.h, linux/in6.h, linux/tcp.h
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MINHOPCOUNT = 73;
const TCP_MD5SIG_EXT = 32;
const TCP_MD5SIG_FLAG_PREFIX = 1;
/** struct tcp_md5sig: sockaddr_storage, flags, prefix length, key length, interface, key. */
const MD5SIG_LENGTH = 216;
const KEY_AT = 136;

/**
 * Signs and checks what goes between the socket and `from`, an address's or a network's prefix (RFC 2385). A listening socket may have many.
 * An empty password takes the key away. @throws KernelError ENOENT (no such key), ENOPROTOOPT; FairleadError `bad-prefix`
 */
export function setTcpSignature(fd: number, from: string, password: string): void {
  const prefix = parsePrefix(from);
  const key = Buffer.from(password).subarray(0, 80);
  const bytes = Buffer.alloc(MD5SIG_LENGTH);
  bytes.writeUInt16LE(prefix.family === 4 ? AF_INET : AF_INET6, 0);
  bytes.set(addressToBytes(prefix), prefix.family === 4 ? 4 : 8);
  bytes.writeUInt8(TCP_MD5SIG_FLAG_PREFIX, 128);
  bytes.writeUInt8(prefix.length, 129);
  bytes.writeUInt16LE(key.length, 130);
  bytes.set(key, KEY_AT);
  call("setsockopt", [fd, IPPROTO_TCP, TCP_MD5SIG_EXT, bytes, bytes.length], { operation: "set the TCP MD5 key", subject: from });
}

/** Sends with TTL 255 and, where given, takes only packets with at least `minimum` (RFC 5082). Whether the kernel did it. */
export function setTtlSecurity(fd: number, family: 4 | 6, minimum?: number): boolean {
  const [level, ttl, least] = family === 4 ? [IPPROTO_IP, IP_TTL, IP_MINTTL] : [IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_MINHOPCOUNT];
  return setOption(fd, level, ttl, 255) && (minimum === undefined || setOption(fd, level, least, minimum));
}
