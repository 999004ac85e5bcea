// The streams of a command that a client runs in a pod, whatever carries them: WebSocket channels or SPDY streams.
import type { Duplex, Readable, Writable } from "node:stream";
import { PassThrough } from "node:stream";
import type { WebSocket } from "ws";
import type { SpdyStream } from "./spdy/session.ts";

export interface TerminalSize {
  readonly width: number;
  readonly height: number;
}

export interface CommandStreams {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Called with each size that the client's terminal takes. */
  onResize(listener: (size: TerminalSize) => void): void;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** Tells the outcome (a Status) and ends everything. */
  finish(status: object): Promise<void>;
}

/** What a client asks to be carried. */
export interface CommandWishes {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** The channels of remotecommand over WebSocket, v4 and v5: the first byte of each message is the channel (KEP-4006). */
export function webSocketStreams(socket: WebSocket, wishes: CommandWishes): CommandStreams {
  const resize = new Resizes();
  const gone = new AbortController();
  const stdin = wishes.stdin ? new PassThrough() : undefined;
  const out = (channel: number) => {
    const stream = new PassThrough();
    stream.on("data", (chunk: Buffer) => {
      socket.send(Buffer.concat([Buffer.of(channel), chunk]), (error) => error && stream.destroy());
      if (socket.bufferedAmount > 1 << 20) {
        stream.pause();
        const timer = setInterval(() => {
          if (socket.bufferedAmount > 1 << 18 && socket.readyState === socket.OPEN) return;
          clearInterval(timer);
          stream.resume();
        }, 5);
      }
    });
    return stream;
  };
  const stdout = wishes.stdout ? out(CHANNEL.stdout) : undefined;
  const stderr = wishes.stderr && !wishes.tty ? out(CHANNEL.stderr) : undefined;
  socket.on("message", (data: Buffer) => {
    const [channel] = data;
    if (channel === CHANNEL.stdin && stdin && !stdin.write(data.subarray(1))) {
      socket.pause();
      stdin.once("drain", () => socket.resume());
    } else if (channel === CHANNEL.resize) resize.take(data.subarray(1));
    else if (channel === CHANNEL.close && data[1] === CHANNEL.stdin) stdin?.end();
  });
  socket.on("close", () => gone.abort());
  socket.on("error", () => gone.abort());
  return {
    stdin,
    stdout,
    stderr,
    onResize: (listener) => resize.listen(listener),
    signal: gone.signal,
    async finish(status) {
      await Promise.all([stdout, stderr].map(ended));
      socket.send(Buffer.concat([Buffer.of(CHANNEL.error), Buffer.from(JSON.stringify(status))]), () => socket.close(1000));
    },
  };
}

/** The streams of remotecommand over SPDY: one for each, told by its header streamType. Resolves when all that were asked for are there. */
export function spdyStreams(
  connection: Duplex,
  serve: (onStream: (stream: SpdyStream) => void) => void,
  wishes: CommandWishes,
): Promise<CommandStreams> {
  const wanted = new Set(["error"]);
  if (wishes.stdin) wanted.add("stdin");
  if (wishes.stdout) wanted.add("stdout");
  if (wishes.stderr && !wishes.tty) wanted.add("stderr");
  if (wishes.tty) wanted.add("resize");
  const streams = new Map<string, SpdyStream>();
  const resize = new Resizes();
  const gone = new AbortController();
  connection.on("close", () => gone.abort());
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      connection.destroy();
      reject(new Error("the client did not open all streams within 30 s"));
    }, 30_000);
    connection.once("close", () => clearTimeout(timer));
    serve((stream) => {
      const type = stream.headers.streamtype ?? "";
      streams.set(type, stream);
      wanted.delete(type);
      if (type === "resize") stream.on("data", (data: Buffer) => resize.take(data));
      if (type === "error" || type === "stdout" || type === "stderr") stream.resume();
      if (wanted.size > 0) return;
      clearTimeout(timer);
      const outputs = [streams.get("stdout"), streams.get("stderr")];
      resolve({
        stdin: streams.get("stdin"),
        stdout: streams.get("stdout"),
        stderr: streams.get("stderr"),
        onResize: (listener) => resize.listen(listener),
        signal: gone.signal,
        async finish(status) {
          await Promise.all(outputs.map(ended));
          // Success is said by ending the stream without a word.
          const failed = (status as { status?: string }).status !== "Success";
          streams.get("error")?.end(failed ? JSON.stringify(status) : undefined);
          await new Promise((done) => setTimeout(done, 10));
          connection.end();
        },
      });
    });
  });
}

/** Sizes of the terminal, as the client tells them one JSON document after the other; the newest is kept for who comes later. */
class Resizes {
  #last: TerminalSize | undefined;
  #listener: ((size: TerminalSize) => void) | undefined;

  take(data: Buffer): void {
    for (const text of data.toString("utf8").match(/\{[^{}]*\}/g) ?? []) {
      try {
        const { Width, Height } = JSON.parse(text) as { Width?: unknown; Height?: unknown };
        if (!Number.isInteger(Width) || !Number.isInteger(Height)) continue;
        this.#last = { width: Math.min(Number(Width), 65_535), height: Math.min(Number(Height), 65_535) };
        this.#listener?.(this.#last);
      } catch {
        // A size that cannot be read changes nothing.
      }
    }
  }

  listen(listener: (size: TerminalSize) => void): void {
    this.#listener = listener;
    if (this.#last) listener(this.#last);
  }
}

function ended(stream: Writable | undefined): Promise<void> | undefined {
  if (!stream || stream.destroyed) return undefined;
  return new Promise((resolve) => {
    stream.once("close", resolve);
    if (stream instanceof PassThrough) stream.once("end", resolve);
    stream.end(resolve);
  });
}
