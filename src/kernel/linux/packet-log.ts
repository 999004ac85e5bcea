// The packets that a namespace's rules log to a group, as they come.
import { closeSync } from "node:fs";
import type { LoggedPacket, PacketLogOptions } from "../kernel.ts";
import { decodeMessages } from "../netlink/message.ts";
import { bindLogGroup, decodeLoggedPacket, NFLOG_MESSAGE } from "../netlink/nflog.ts";
import { C, libc } from "./libc.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./socket.ts";
import { eventLoop } from "./watch.ts";

/** Enough for the headers of a packet with options. */
const COPIED_BYTES = 128;
const BUFFER = Buffer.alloc(256 * 1024);

/** Binds the group in the thread's current namespace. @throws KernelError EPERM, also where another socket has it. Returns the way to stop. */
export function readPacketLog(group: number, onPacket: (packet: LoggedPacket) => void, options: PacketLogOptions = {}): () => void {
  const socket = new NetlinkSocket(NETLINK_NETFILTER);
  try {
    for (const body of bindLogGroup(group, options.bytes ?? COPIED_BYTES, options.atOnce))
      socket.request(NFLOG_MESSAGE.config, 0, body, { operation: "bind the log group", subject: String(group) });
  } catch (error) {
    socket.close();
    throw error;
  }
  const { fd } = socket;
  eventLoop().add(fd, () => {
    for (;;) {
      // What was lost for want of room is lost: the kernel says ENOBUFS once, and goes on.
      const length = Number(libc("recv")(fd, BUFFER, BUFFER.length, C.MSG_DONTWAIT));
      if (length < 0) return;
      for (const { type, body } of decodeMessages(BUFFER.subarray(0, length))) {
        const packet = type === NFLOG_MESSAGE.packet ? decodeLoggedPacket(body) : undefined;
        if (packet) onPacket(packet);
      }
    }
  });
  return () => {
    eventLoop().remove(fd);
    closeSync(fd);
  };
}
