// A container's log: one line of the file for each line that it prints, with time and stream in front, as CRI runtimes write it.
//
//   2026-01-02T03:04:05.678Z stdout F the text
//
// P in place of F: the line goes on in the next one.
import { closeSync, createReadStream, existsSync, fstatSync, openSync, readSync, renameSync, statSync, writeSync } from "node:fs";
import { Readable } from "node:stream";
import type { LogWishes } from "../../api/index.ts";

/** Kubelet's own limits: a longer line is split, a bigger file begins anew. */
const MAX_LINE = 16 * 1024;
const MAX_FILE = 10 * 1024 * 1024;

export type OutputName = "stdout" | "stderr";

export interface LogWriter {
  write(stream: OutputName, chunk: Buffer): void;
  close(): void;
}

/** Where the log of the run before the last restart is kept. */
function previousLog(path: string): string {
  return `${path}.previous`;
}

/** Begins a container's log; that of its run before is kept beside it. */
export function openLog(path: string, now: () => Date = () => new Date()): LogWriter {
  if (existsSync(path)) renameSync(path, previousLog(path));
  let fd = openSync(path, "a", 0o600);
  const unfinished: Record<OutputName, Buffer[]> = { stdout: [], stderr: [] };
  let size = 0;
  const put = (stream: OutputName, mark: "F" | "P", text: Buffer) => {
    const line = Buffer.concat([Buffer.from(`${now().toISOString()} ${stream} ${mark} `), text, Buffer.from("\n")]);
    if (size + line.length > MAX_FILE) {
      closeSync(fd);
      renameSync(path, `${path}.1`);
      fd = openSync(path, "a", 0o600);
      size = 0;
    }
    size += line.length;
    writeSync(fd, line);
  };
  const pendingOf = (stream: OutputName) => Buffer.concat(unfinished[stream]);
  return {
    write(stream, chunk) {
      let rest = Buffer.concat([...unfinished[stream], chunk]);
      for (let end = rest.indexOf(10); end >= 0 || rest.length > MAX_LINE; end = rest.indexOf(10)) {
        const whole = end >= 0 && end <= MAX_LINE;
        const length = whole ? end : MAX_LINE;
        put(stream, whole ? "F" : "P", rest.subarray(0, length));
        rest = rest.subarray(whole ? length + 1 : length);
      }
      unfinished[stream] = rest.length > 0 ? [rest] : [];
    },
    close() {
      for (const stream of ["stdout", "stderr"] as const) if (unfinished[stream].length > 0) put(stream, "F", pendingOf(stream));
      closeSync(fd);
    },
  };
}

interface Line {
  readonly time: string;
  readonly full: boolean;
  readonly text: Buffer;
}

function parseLine(line: Buffer): Line | undefined {
  const first = line.indexOf(32);
  const second = line.indexOf(32, first + 1);
  const third = line.indexOf(32, second + 1);
  if (third < 0) return undefined;
  return { time: line.toString("latin1", 0, first), full: line[second + 1] === 70, text: line.subarray(third + 1) };
}

function render({ time, full, text }: Line, timestamps: boolean): Buffer {
  return Buffer.concat([timestamps ? Buffer.from(`${time} `) : Buffer.alloc(0), text, full ? Buffer.from("\n") : Buffer.alloc(0)]);
}

const FOLLOW_MS = 50;

/** The log as asked for. `ended` tells whether the container will print nothing more: following stops then. */
export function readLog(path: string, wishes: LogWishes, ended: () => boolean): Readable {
  return Readable.from(limited(lines(path, wishes, ended), wishes));
}

async function* limited(source: AsyncGenerator<Line>, { limitBytes = Number.POSITIVE_INFINITY, timestamps }: LogWishes) {
  let left = limitBytes;
  for await (const line of source) {
    const bytes = render(line, timestamps);
    yield bytes.subarray(0, left);
    left -= bytes.length;
    if (left <= 0) return;
  }
}

async function* lines(path: string, wishes: LogWishes, ended: () => boolean): AsyncGenerator<Line> {
  const file = wishes.previous ? previousLog(path) : path;
  const since = wishes.since === undefined ? "" : new Date(wishes.since).toISOString();
  const size = existsSync(file) ? statSync(file).size : 0;
  let kept: Line[] = [];
  for await (const line of fileLines(file, size)) {
    if (line.time < since) continue;
    if (wishes.tailLines === undefined) yield line;
    else kept.push(line);
    // Cut now and then, so that a long log is never held as a whole.
    if (wishes.tailLines !== undefined && kept.length > 2 * wishes.tailLines + 1000) kept = lastLines(kept, wishes.tailLines);
  }
  yield* lastLines(kept, wishes.tailLines ?? 0);
  if (wishes.follow && !wishes.previous) yield* followed(file, size, ended);
}

function lastLines(list: readonly Line[], count: number): Line[] {
  if (count === 0) return [];
  let left = count;
  let at = list.length;
  // Parts of one line count as one.
  while (at > 0 && !(list[at - 1]?.full && left-- === 0)) at--;
  return list.slice(at);
}

async function* fileLines(path: string, size: number): AsyncGenerator<Line> {
  if (size === 0) return;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { end: size - 1 })) {
    rest = rest.length > 0 ? Buffer.concat([rest, chunk as Buffer]) : (chunk as Buffer);
    let at = 0;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, at)) {
      const line = parseLine(rest.subarray(at, end));
      if (line) yield line;
      at = end + 1;
    }
    rest = rest.subarray(at);
  }
}

/** Goes on behind `from`. Other files may take the place of this one: after a restart, or when it has grown too big. */
async function* followed(path: string, from: number, ended: () => boolean): AsyncGenerator<Line> {
  let fd: number | undefined;
  let inode = existsSync(path) ? statSync(path).ino : 0;
  let at = from;
  let rest: Buffer = Buffer.alloc(0);
  try {
    for (;;) {
      const last = ended();
      if (fd === undefined && existsSync(path)) fd = openSync(path, "r");
      if (fd !== undefined) {
        if (fstatSync(fd).ino !== inode) [inode, at, rest] = [fstatSync(fd).ino, 0, Buffer.alloc(0)];
        for (let chunk = readMore(fd, at); chunk.length > 0; chunk = readMore(fd, at)) {
          at += chunk.length;
          rest = Buffer.concat([rest, chunk]);
          for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
            const line = parseLine(rest.subarray(0, end));
            if (line) yield line;
            rest = rest.subarray(end + 1);
          }
        }
        if (!existsSync(path) || statSync(path).ino !== inode) {
          closeSync(fd);
          fd = undefined;
        }
      }
      if (last) return;
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    }
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function readMore(fd: number, at: number): Buffer {
  const chunk = Buffer.alloc(64 * 1024);
  return chunk.subarray(0, readSync(fd, chunk, 0, chunk.length, at));
}
