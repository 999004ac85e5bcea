// Debian's BGP programs at 10.0.0.2 of a BgpNetwork: each started with its configuration, in the foreground, with its files in the network's
// directory.
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import type { BgpNetwork } from "./bgp-network.ts";

export interface BgpProgram {
  /** As it runs now. */
  process(): ChildProcess;
  /** Puts a question to it by its own client; the answer. */
  ask(...words: string[]): string;
  /** Starts it anew after it was killed, as one that kept its routes. */
  again(): void;
}

interface Start {
  readonly command: string;
  readonly words: readonly string[];
  /** What it is told besides when it comes back. */
  readonly returning?: readonly string[];
  readonly ask: (...words: string[]) => string;
}

function program(on: BgpNetwork, { command, words, returning = [], ask }: Start): BgpProgram {
  let child = on.start(command, words);
  return {
    process: () => child,
    ask,
    again() {
      child = on.start(command, [...words, ...returning]);
    },
  };
}

/** BIRD; its client's words are one command. */
export function startBird(on: BgpNetwork, config: string): BgpProgram {
  const socket = `${on.directory}/bird.ctl`;
  return program(on, {
    command: "/usr/sbin/bird",
    words: ["-f", "-c", on.file("bird.conf", config), "-s", socket, "-P", `${on.directory}/bird.pid`],
    returning: ["-R"],
    ask: (command = "") => on.ask("/usr/sbin/birdc", ["-s", socket, command]),
  });
}

/** FRR's bgpd alone, without zebra; its client's words are one command. */
export function startBgpd(on: BgpNetwork, config: string): BgpProgram {
  const files = ["-f", on.file("bgpd.conf", config), "-i", `${on.directory}/bgpd.pid`, "--vty_socket", on.directory];
  return program(on, {
    command: "/usr/lib/frr/bgpd",
    words: [...files, "-n", "-S", "-Z", "-P", "0", "--log", "stdout"],
    ask: (command = "") => on.ask("/usr/bin/vtysh", ["--vty_socket", on.directory, "-d", "bgpd", "-c", command]),
  });
}

/** GoBGP; its own routes are added by its client. */
export function startGobgpd(on: BgpNetwork, config: string): BgpProgram {
  return program(on, {
    command: "/usr/bin/gobgpd",
    words: ["-f", on.file("gobgp.toml", config), "--api-hosts", "127.0.0.1:50051", "-p", "--log-level", "warn"],
    returning: ["-r"],
    ask: (...words) => on.ask("/usr/bin/gobgp", words),
  });
}

/** Adds routes to GoBGP, unless it shows that it has them: before it is up, and on a busy machine, it may not hear. */
export function addToGobgp(ask: BgpProgram["ask"], prefixes: readonly string[], attributes: readonly string[] = []): void {
  for (const prefix of prefixes) {
    const [family, nextHop] = prefix.includes(":") ? ["ipv6", "fd00::2"] : ["ipv4", "10.0.0.2"];
    if (ask("global", "rib", "-a", family, prefix).includes(` ${nextHop} `)) continue;
    ask("global", "rib", "add", "-a", family, prefix, "nexthop", nextHop, ...attributes);
  }
}

/** ExaBGP, whose neighbours have `api { processes [ sink ]; … }`: the answer to any question is all that it was told since it started. */
export function startExabgp(on: BgpNetwork, neighbours: string): BgpProgram {
  const log = on.file("exabgp.out", "");
  // Its pipe does not block, which cat does not bear.
  const script = on.file(
    "sink.py",
    `import os, select
while True:
    select.select([0], [], [])
    try: data = os.read(0, 65536)
    except BlockingIOError: continue
    if not data: break
    with open("${log}", "ab") as out: out.write(data)
`,
  );
  const file = on.file("exabgp.conf", `process sink { run /usr/bin/python3 ${script}; encoder json; }\n${neighbours}\n`);
  const start = () =>
    on.start("/usr/sbin/exabgp", [file], {
      "exabgp.daemon.user": "root",
      "exabgp.log.level": "ERR",
      "exabgp.tcp.bind": "",
      exabgp_daemon_user: "root",
    });
  let child = start();
  return {
    process: () => child,
    ask: () => readFileSync(log, "utf8"),
    again() {
      writeFileSync(log, "");
      child = start();
    },
  };
}
