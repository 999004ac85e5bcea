// FRR in the router of a lab's fabric: its daemons run in the router's namespace, and are ended with their files.
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const BIN = join(import.meta.dirname, "../bin/fairlead");

export interface FrrRouter {
  /** Starts a daemon with its configuration. */
  start(program: "zebra" | "bgpd" | "bfdd", config?: string): Promise<void>;
  /** Kills a daemon without a word. */
  kill(program: string): void;
  ask(command: string): Promise<string>;
  close(): void;
}

/** FRR runs as a user of its own, which must reach its files in the place's directory. */
export function makeFrrRouter(place: Place): FrrRouter {
  const directory = join(place.directory, "frr");
  chmodSync(place.directory, 0o711);
  mkdirSync(directory);
  chmodSync(directory, 0o777);
  const children: ChildProcess[] = [];
  const pidFile = (program: string) => join(directory, `${program}.pid`);
  const pidOf = (program: string) => (existsSync(pidFile(program)) ? Number(readFileSync(pidFile(program), "utf8")) : undefined);
  const signal = (program: string, name: NodeJS.Signals) => {
    const pid = pidOf(program);
    if (pid !== undefined && existsSync(`/proc/${pid}`)) process.kill(pid, name);
  };
  return {
    async start(program, config = "") {
      const file = join(directory, `${program}.conf`);
      writeFileSync(file, config, { mode: 0o644 });
      const files = ["-f", file, "-i", pidFile(program), "-z", join(directory, "zserv.api"), "--vty_socket", directory, "-P", "0"];
      const more = program === "bfdd" ? ["--bfdctl", join(directory, "bfdd.sock")] : [];
      const words = ["lab", "node", "router", "--", `/usr/lib/frr/${program}`, ...files, "--log", "stdout", ...more];
      children.push(spawn(BIN, words, { env: { ...process.env, FAIRLEAD_STATE: place.directory }, stdio: "ignore" }));
      await eventually(async () => existsSync(join(directory, `${program}.vty`)));
    },
    kill: (program) => signal(program, "SIGKILL"),
    ask: async (command) => (await place.run("vtysh", ["--vty_socket", directory, "-d", "bgpd", "-c", command])).out,
    close() {
      for (const program of ["bgpd", "bfdd", "zebra"]) signal(program, "SIGTERM");
      for (const child of children) child.kill();
    },
  };
}
