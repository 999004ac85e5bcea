// Requests that the kernel takes its time for: a pool thread waits for the answer, and the calling thread goes on.
import { KernelError, type KernelFailure } from "../errors.ts";
import { decodeMessages, encodeMessage, FLAG, verdictOf } from "../netlink/message.ts";
import { C, libc } from "./libc.ts";
import type { NetlinkSocket } from "./socket.ts";

/** The pool is small, and other work needs it as well. */
const AT_ONCE = 2;
const waiting: (() => void)[] = [];
let running = 0;

/** Sends a request through a socket that `open` makes for it, and that is closed afterwards. @throws KernelError as the kernel says */
export async function requestAway(
  open: () => NetlinkSocket,
  { type, body }: { readonly type: number; readonly body: Uint8Array },
  context: Omit<KernelFailure, "errno">,
): Promise<void> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    const socket = open();
    try {
      const bytes = encodeMessage({ type, flags: FLAG.request | FLAG.ack, sequence: 1, port: 0, body });
      const sent = await new Promise<boolean>((resolve) => {
        libc("send").async(socket.fd, bytes, bytes.length, 0, (failure: unknown, size: number) => resolve(!failure && Number(size) >= 0));
      });
      const errno = sent ? answerOf(socket.fd) : EIO;
      if (errno !== 0) throw new KernelError({ ...context, errno });
    } finally {
      socket.close();
    }
  } finally {
    running--;
    waiting.shift()?.();
  }
}

const EIO = 5;

/** The errno of the acknowledgement, which lies ready when send() has returned. */
function answerOf(fd: number): number {
  const buffer = Buffer.alloc(4096);
  const length = Number(libc("recv")(fd, buffer, buffer.length, C.MSG_DONTWAIT));
  for (const message of decodeMessages(buffer.subarray(0, Math.max(0, length)))) {
    const verdict = verdictOf(message);
    if (verdict) return verdict.errno;
  }
  return EIO;
}
