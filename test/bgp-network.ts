// Two namespaces on one wire for BGP: ours, with a transport for the speaker, and one for another program.
import { type ChildProcess, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bgpTransport } from "../src/agent/bgp/transport.ts";
import type { Transport } from "../src/bgp/index.ts";
import { createLinuxKernel, type NetworkNamespace } from "../src/kernel/index.ts";

export interface BgpNetwork {
  readonly ours: NetworkNamespace;
  readonly theirs: NetworkNamespace;
  readonly directory: string;
  /** Writes a file of the other program's; returns its path. */
  file(name: string, text: string): string;
  /** Starts a program beside; it is killed at the end. */
  start(command: string, args: readonly string[], environment?: Readonly<Record<string, string>>): ChildProcess;
  /** Runs a program to its end; what it printed. */
  ask(command: string, args: readonly string[]): string;
  close(): void;
}

/** 10.0.0.1 and fd00::1 are ours, .2 and ::2 the other's; more of theirs from .3. */
export function makeBgpNetwork(): BgpNetwork {
  const kernel = createLinuxKernel();
  const ours = kernel.createNamespace();
  const theirs = kernel.createNamespace();
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bgp-"));
  spawnSync("chmod", ["777", directory]);
  ours.addVethPair({ name: "eth0" }, { name: "eth0", namespace: theirs });
  for (const [namespace, number] of [
    [ours, 1],
    [theirs, 2],
  ] as const) {
    namespace.writeSysctl("net.ipv6.conf.eth0.accept_dad", "0");
    namespace.apply({ op: "set", link: { name: "lo", up: true } });
    namespace.apply({ op: "set", link: { name: "eth0", up: true } });
    for (const more of number === 1 ? [1] : Array.from({ length: 20 }, (_, i) => 2 + i)) {
      namespace.apply({ op: "add", address: { link: "eth0", address: `10.0.0.${more}/24` } });
      namespace.apply({ op: "add", address: { link: "eth0", address: `fd00::${more.toString(16)}/64` } });
    }
  }
  const children: ChildProcess[] = [];
  return {
    ours,
    theirs,
    directory,
    file(name, text) {
      const path = join(directory, name);
      writeFileSync(path, text, { mode: 0o666 });
      return path;
    },
    start(command, args, environment = {}) {
      const child = theirs.spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } });
      children.push(child);
      let said = "";
      for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (said = `${said}${chunk}`.slice(-4000)));
      child.on("exit", (code) => {
        if (code) console.error(`${command} ended with ${code}: ${said}`);
      });
      return child;
    },
    ask(command, args) {
      return theirs.run(() => spawnSync(command, args, { encoding: "utf8" })).stdout ?? "";
    },
    close() {
      for (const child of children) child.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
      ours.close();
      theirs.close();
    },
  };
}

/** The speaker's transport in a namespace: the agent's own. */
export function transportIn(namespace: NetworkNamespace, port = 179): Transport {
  return bgpTransport(namespace, { port, log: (message) => console.error(message) });
}
