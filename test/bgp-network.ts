// Two namespaces on one wire for BGP: ours, with a transport for the speaker, and one for another program.
import { type ChildProcess, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { familyOf, parsePrefix, prefixContains, tryParseAddress } from "../src/base/index.ts";
import type { Expected, Transport } from "../src/bgp/index.ts";
import { createLinuxKernel, type NetworkNamespace, setTcpSignature, setTtlSecurity } from "../src/kernel/index.ts";

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

/** The speaker's transport in a namespace, with MD5 and TTL security. */
export function transportIn(namespace: NetworkNamespace, port = 179): Transport {
  return {
    connect({ address, port: to, localAddress, password, minimumTtl }) {
      const family = familyOf(address);
      const fd = namespace.openSocket({ protocol: "tcp", family });
      if (password !== undefined) setTcpSignature(fd, `${address}/${family === 4 ? 32 : 128}`, password);
      if (minimumTtl !== undefined) setTtlSecurity(fd, family, minimumTtl);
      const socket = new Socket({ fd, manualStart: true } as never);
      socket.connect({ host: address, port: to, ...(localAddress === undefined ? {} : { localAddress }) });
      return socket;
    },
    listen(accept) {
      let expected: readonly Expected[] = [];
      const servers = ([4, 6] as const).map((family) => {
        const fd = namespace.bindSocket({ protocol: "tcp", address: family === 4 ? "0.0.0.0" : "::", port, v6only: true });
        const server: Server = createServer({ noDelay: true }, (socket) => {
          const from = tryParseAddress(socket.remoteAddress ?? "");
          const known = expected.find((each) => from && prefixContains(parsePrefix(each.from), from));
          const handle = (socket as unknown as { _handle: { fd: number } })._handle;
          if (known?.minimumTtl !== undefined) setTtlSecurity(handle.fd, family, known.minimumTtl);
          accept(socket);
        }).listen({ fd });
        return { family, fd, server };
      });
      return {
        expect(neighbours) {
          const gone = expected.filter(({ from }) => !neighbours.some((each) => each.from === from && each.password !== undefined));
          for (const { family, fd } of servers) {
            for (const { from, password } of gone) if (password !== undefined && familyOf(from) === family) setTcpSignature(fd, from, "");
            for (const { from, password } of neighbours)
              if (password !== undefined && familyOf(from) === family) setTcpSignature(fd, from, password);
            if (neighbours.some(({ minimumTtl }) => minimumTtl !== undefined)) setTtlSecurity(fd, family);
          }
          expected = neighbours;
        },
        close() {
          for (const { server } of servers) server.close();
        },
      };
    },
  };
}

/** Waits; says what never came. */
export async function until(what: () => string, holds: () => boolean, seconds = 15): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not within ${seconds} s: ${what()}`);
}
