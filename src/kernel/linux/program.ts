// Running a small program to its end: environment and standard input in; status, output and errors out.
//
// Node's own spawn forks, which copies the page tables of the whole process: 10 to 30 ms where it holds much memory.
// posix_spawn shares them until the program runs, so that a start costs the same whatever the size of the process.
// Input and output are files in memory, and the end is an event of a pidfd, so that nothing waits in between.
import { closeSync, fstatSync, readSync, writeSync } from "node:fs";
import { KernelError } from "../errors.ts";
import { C, call, libc } from "./libc.ts";
import { eventLoop } from "./watch.ts";

export interface ProgramCall {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
}

export interface ProgramEnd {
  /** Exit status; 128 and the signal's number where a signal ended it. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** System call numbers that are the same on x86-64 and arm64. */
const SYS_PIDFD_OPEN = 434;
/** Room for posix_spawn_file_actions_t (80) and posix_spawnattr_t (336) of glibc and musl. */
const SPAWN_STRUCT = 512;
/** What the program inherits of signals is nothing: no mask, and no signal ignored as Node ignores SIGPIPE. */
const SPAWN_FLAGS = 0x04 | 0x08;

let attributes: Buffer | undefined;

function cleanSignals(): Buffer {
  if (attributes) return attributes;
  const made = Buffer.alloc(SPAWN_STRUCT);
  check("posix_spawnattr_init", [made]);
  check("posix_spawnattr_setflags", [made, SPAWN_FLAGS]);
  check("posix_spawnattr_setsigdefault", [made, Buffer.alloc(128, 0xff)]);
  check("posix_spawnattr_setsigmask", [made, Buffer.alloc(128)]);
  attributes = made;
  return made;
}

/** Runs a program in the thread's network namespace. @throws KernelError if it can't be started */
export function runProgram(program: ProgramCall): Promise<ProgramEnd> {
  const running = launch(program);
  let pidfd: number;
  try {
    pidfd = call("syscall", [SYS_PIDFD_OPEN, running.pid, 0, 0], { operation: "watch a process", subject: program.path });
  } catch (error) {
    running.close();
    throw error;
  }
  return new Promise((resolve) => {
    eventLoop().add(pidfd, () => {
      eventLoop().remove(pidfd);
      closeSync(pidfd);
      resolve(running.end());
    });
  });
}

/** Runs a program and waits for its end: for what must be done before anything else. @throws KernelError if it can't be started */
export function runProgramNow(program: ProgramCall): ProgramEnd {
  return launch(program).end();
}

interface Running {
  readonly pid: number;
  /** Waits for the end, and tells it. */
  end(): ProgramEnd;
  close(): void;
}

function launch({ path, args, env, stdin }: ProgramCall): Running {
  const files: number[] = [];
  const memory = () => {
    const fd = call("memfd_create", ["program", C.MFD_CLOEXEC], { operation: "make a file in memory" });
    files.push(fd);
    return fd;
  };
  const close = () => {
    for (const fd of files) closeSync(fd);
  };
  try {
    const input = memory();
    const bytes = Buffer.from(stdin);
    for (let at = 0; at < bytes.length; ) at += writeSync(input, bytes, at, bytes.length - at, at);
    const stdout = memory();
    const stderr = memory();
    const pid = start(path, [path, ...args], env, [input, stdout, stderr]);
    return {
      pid,
      end() {
        const status = Buffer.alloc(4);
        libc("waitpid")(pid, status, 0);
        const end = { status: statusOf(status.readUInt32LE(0)), stdout: contentOf(stdout), stderr: contentOf(stderr) };
        close();
        return end;
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

function start(path: string, argv: readonly string[], env: Readonly<Record<string, string>>, standard: readonly number[]): number {
  const actions = Buffer.alloc(SPAWN_STRUCT);
  check("posix_spawn_file_actions_init", [actions]);
  try {
    for (const [to, from] of standard.entries()) check("posix_spawn_file_actions_adddup2", [actions, from, to]);
    const pid = Buffer.alloc(4);
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    check("posix_spawn", [pid, path, actions, cleanSignals(), [...argv, null], [...variables, null]], path);
    return pid.readInt32LE(0);
  } finally {
    libc("posix_spawn_file_actions_destroy")(actions);
  }
}

/** These functions return the error instead of setting errno. */
function check(name: Parameters<typeof libc>[0], args: readonly unknown[], subject?: string): void {
  const errno = Number(libc(name)(...args));
  if (errno !== 0) throw new KernelError({ errno, operation: "start a program", ...(subject === undefined ? {} : { subject }) });
}

/** The status word of waitpid (bits/waitstatus.h). */
function statusOf(word: number): number {
  const signal = word & 0x7f;
  return signal === 0 ? (word >> 8) & 0xff : 128 + signal;
}

function contentOf(fd: number): string {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  let length = 0;
  while (length < bytes.length) {
    const got = readSync(fd, bytes, length, bytes.length - length, length);
    if (got === 0) break;
    length += got;
  }
  return bytes.toString("utf8", 0, length);
}
