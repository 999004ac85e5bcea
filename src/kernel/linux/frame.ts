// Ethernet frames sent as they are (packet(7)): what announces an address is not the kernel's to send.
import { closeSync } from "node:fs";
import { C, call } from "./libc.ts";

const AF_PACKET = 17;
/** struct sockaddr_ll */
const ADDRESS_LENGTH = 20;

/** Sends a frame out of the link with this index in the thread's current namespace. @throws KernelError ENODEV, ENETDOWN, EMSGSIZE, EPERM */
export function sendFrame(link: string, index: number, frame: Uint8Array): void {
  const failure = { operation: "send a frame", subject: link };
  // Protocol 0: nothing is received.
  const fd = call("socket", [AF_PACKET, C.SOCK_RAW | C.SOCK_CLOEXEC, 0], failure);
  try {
    const address = Buffer.alloc(ADDRESS_LENGTH);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeInt32LE(index, 4);
    call("bind", [fd, address, address.length], failure);
    call("send", [fd, frame, frame.length, C.MSG_DONTWAIT], failure);
  } finally {
    closeSync(fd);
  }
}
