// `fairlead api` as a process of its own, that can be killed and started again where it was.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

export class ApiProcess {
  readonly #data: string;
  readonly #words: readonly string[];
  #listen = "127.0.0.1:0";
  #child: ChildProcess | undefined;

  /** `data`: its directory; `words`: more options. */
  constructor(data: string, ...words: readonly string[]) {
    this.#data = data;
    this.#words = words;
  }

  get kubeconfig(): string {
    return join(this.#data, "kubeconfig");
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Resolves when it serves; the second time at the same port. */
  async start(): Promise<void> {
    const words = ["api", "--data", this.#data, "--listen", this.#listen, ...this.#words];
    const child = spawn(BIN, words, { stdio: ["ignore", "pipe", "ignore"] });
    this.#child = child;
    let text = "";
    for await (const chunk of child.stdout) {
      text += String(chunk);
      const [, address] = /serving https:\/\/(\S+)/.exec(text) ?? [];
      if (!address) continue;
      this.#listen = address;
      return;
    }
    throw new Error(`the server ended: ${text}`);
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }
}
