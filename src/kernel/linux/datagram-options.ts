// An option of UDP sockets that BFD needs: only what comes from the link itself, which shows by its TTL.
import { createRequire } from "node:module";
import type * as Koffi from "koffi";
import { C, call, setOption } from "./libc.ts";

const SO_ATTACH_FILTER = 26;
const IPPROTO_IP = 0;
const IP_TTL = 2;
const IPV6_UNICAST_HOPS = 16;
/** linux/filter.h: offsets from here on lie in the network header. */
const SKF_NET_OFF = -0x100000;
const TTL_AT = { 4: 8, 6: 7 } as const;

/** Sends with TTL 255 and drops, in the kernel, what comes with less (RFC 5881 §5). @throws KernelError */
export function requireFullTtl(fd: number, family: 4 | 6): void {
  const [level, ttl] = family === 4 ? [IPPROTO_IP, IP_TTL] : [C.IPPROTO_IPV6, IPV6_UNICAST_HOPS];
  setOption(fd, level, ttl, 255);
  // struct sock_filter: code, jump if true, jump if false, constant.
  const steps = [
    [0x30, 0, 0, SKF_NET_OFF + TTL_AT[family]], // load a byte
    [0x15, 0, 1, 255], // equal?
    [0x06, 0, 0, 0xffff], // take it
    [0x06, 0, 0, 0], // drop it
  ] as const;
  const program = Buffer.alloc(steps.length * 8);
  for (const [index, [code, yes, no, constant]] of steps.entries()) {
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(yes, index * 8 + 2);
    program.writeUInt8(no, index * 8 + 3);
    program.writeInt32LE(constant, index * 8 + 4);
  }
  const koffi = createRequire(import.meta.url)("koffi") as typeof Koffi;
  const header = Buffer.alloc(16);
  header.writeUInt16LE(steps.length, 0);
  header.writeBigUInt64LE(BigInt(koffi.address(program)), 8);
  call("setsockopt", [fd, C.SOL_SOCKET, SO_ATTACH_FILTER, header, header.length], { operation: "attach a filter to a socket" });
}
