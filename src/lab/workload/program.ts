// A running program of a container, or of `exec`: its output to listeners and to a log, its input, its terminal, its end.
import type { ChildProcess } from "node:child_process";
import { closeSync } from "node:fs";
import { constants } from "node:os";
import type { Writable } from "node:stream";
import type { TerminalSize } from "../../api/index.ts";
import { type NetworkNamespace, openTerminal, type Terminal } from "../../kernel/index.ts";
import type { LogWriter, OutputName } from "./log-file.ts";

export interface ProgramOptions {
  /** The network that it runs in. */
  readonly namespace: NetworkNamespace;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly tty: boolean;
  /** Whether it has a standard input that somebody may write to. */
  readonly stdin: boolean;
  readonly log?: LogWriter;
  /** It is a Node program of Fairlead's own, which speaks over Node's message channel; nothing stands between it and the process started. */
  readonly onMessage?: (message: never) => void;
}

export class Program {
  /** Exit status; 128 and the signal's number where a signal ended it. Settled after all output was given to the listeners. */
  readonly exited: Promise<number>;
  readonly stdin: Writable | undefined;
  /** The process that was started is the program itself. */
  readonly isDirect: boolean;
  readonly #child: ChildProcess;
  readonly #terminal: Terminal | undefined;
  readonly #listeners = new Set<(stream: OutputName, chunk: Buffer) => void>();
  status: number | undefined;

  /** @throws KernelError, where there is no terminal; a program that can't be started ends with 127 */
  constructor({ namespace, argv, env, tty, stdin, log, onMessage }: ProgramOptions) {
    const [command = "", ...args] = tty ? ["setsid", "--ctty", "--", ...argv] : argv;
    this.#terminal = tty ? openTerminal() : undefined;
    const fd = this.#terminal?.programFd;
    const stdio = fd === undefined ? ([stdin ? "pipe" : "ignore", "pipe", "pipe"] as const) : [fd, fd, fd];
    this.isDirect = onMessage !== undefined;
    this.#child = namespace.spawn(command, args, {
      env: { ...env, ...(tty ? { TERM: env.TERM ?? "xterm" } : {}) },
      stdio: onMessage ? [...stdio, "ipc"] : [...stdio],
      cwd: "/",
    });
    if (onMessage) this.#child.on("message", (message) => onMessage(message as never));
    if (fd !== undefined) closeSync(fd);
    const take = (stream: OutputName) => (chunk: Buffer) => {
      log?.write(stream, chunk);
      for (const listener of this.#listeners) listener(stream, chunk);
    };
    const outputs: Promise<void>[] = [];
    const follow = (source: NodeJS.ReadableStream | null | undefined, stream: OutputName) => {
      if (!source) return;
      source.on("data", take(stream));
      outputs.push(new Promise((resolve) => source.once("end", resolve).once("close", resolve)));
    };
    follow(this.#terminal ? this.#terminal.stream : this.#child.stdout, "stdout");
    follow(this.#child.stderr, "stderr");
    this.stdin = this.#terminal?.stream ?? this.#child.stdin ?? undefined;
    this.stdin?.on("error", () => {});
    this.exited = new Promise<number>((resolve) => {
      this.#child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
      this.#child.once("error", () => resolve(127));
    }).then(async (status) => {
      // What a background process still holds open is not waited for.
      await Promise.race([Promise.all(outputs), new Promise((resolve) => setTimeout(resolve, 200))]);
      this.#terminal?.stream.destroy();
      log?.close();
      this.status = status;
      return status;
    });
  }

  /** The process that was started; what it started runs within. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasTerminal(): boolean {
    return this.#terminal !== undefined;
  }

  /** Calls back with what it prints from now on. Returns the way to stop. */
  onOutput(listener: (stream: OutputName, chunk: Buffer) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Nothing more is read from it until then, so that a slow reader holds it up. */
  pauseUntil(taken: Promise<unknown>): void {
    const sources = [this.#terminal?.stream, this.#child.stdout, this.#child.stderr];
    for (const source of sources) source?.pause();
    void taken.then(() => {
      for (const source of sources) source?.resume();
    });
  }

  resize(size: TerminalSize): void {
    this.#terminal?.resize(size);
  }

  /** False where nobody hears. */
  send(message: object): boolean {
    if (!this.#child.connected) return false;
    this.#child.send(message);
    return true;
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }
}
