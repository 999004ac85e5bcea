// Pseudo-terminals: a pair of descriptors, one for the program, one for whoever sits before it (pty(7)).
import { closeSync, constants, openSync, write } from "node:fs";
import { Duplex } from "node:stream";
import { ReadStream } from "node:tty";
import { call } from "./libc.ts";

// asm-generic/ioctls.h; the same on x86-64 and arm64.
const TIOCSWINSZ = 0x5414;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;

export interface Terminal {
  /** The program's end, for its standard input, output and errors. Close it once the program has it. */
  readonly programFd: number;
  /** What the program prints; what is written is what a person types. Ends when the program's end is closed everywhere. */
  readonly stream: Duplex;
  /** Columns and rows, in characters. */
  resize(size: { readonly width: number; readonly height: number }): void;
}

/** @throws KernelError, where the kernel gives no more terminals */
export function openTerminal(): Terminal {
  const master = openSync("/dev/ptmx", constants.O_RDWR | constants.O_NOCTTY);
  let programFd: number;
  try {
    call("ioctl", [master, TIOCSPTLCK, Buffer.alloc(4)], { operation: "unlock a terminal" });
    programFd = call("ioctl", [master, TIOCGPTPEER, BigInt(constants.O_RDWR | constants.O_NOCTTY)], { operation: "open a terminal" });
  } catch (error) {
    closeSync(master);
    throw error;
  }
  return {
    programFd,
    stream: terminalStream(master),
    resize({ width, height }) {
      const size = Buffer.alloc(8);
      size.writeUInt16LE(Math.min(height, 65_535), 0);
      size.writeUInt16LE(Math.min(width, 65_535), 2);
      call("ioctl", [master, TIOCSWINSZ, size], { operation: "set a terminal's size" });
    },
  };
}

function terminalStream(master: number): Duplex {
  const reader = new ReadStream(master);
  const stream = new Duplex({
    allowHalfOpen: false,
    read: () => reader.resume(),
    write: (chunk: Buffer, _encoding, done) => writeAll(master, chunk, done),
    destroy: (error, done) => {
      reader.destroy();
      done(error);
    },
  });
  reader.on("data", (chunk: Buffer) => {
    if (!stream.push(chunk)) reader.pause();
  });
  const end = () => stream.push(null);
  reader.on("end", end);
  // EIO: nobody holds the program's end any more.
  reader.on("error", end);
  return stream;
}

function writeAll(fd: number, bytes: Buffer, done: (error?: Error | null) => void): void {
  write(fd, bytes, 0, bytes.length, null, (error, written) => {
    if (error && error.code !== "EAGAIN") return done(error);
    if (!error && written === bytes.length) return done();
    setTimeout(() => writeAll(fd, error ? bytes : bytes.subarray(written), done), error ? 5 : 0);
  });
}
