// iptables of one namespace, by its own programs: rules are fed to iptables-restore, and read from iptables-save.
import { closeSync, existsSync, readFileSync, realpathSync } from "node:fs";
import { join } from "node:path";
import type { Family } from "../../base/index.ts";
import { KernelError } from "../errors.ts";
import { isIptablesTable, parseSave } from "../iptables/save.ts";
import type { Iptables, Nftables } from "../kernel.ts";
import type { IptablesTable } from "../state.ts";
import { C, call, libc } from "./libc.ts";
import { type ProgramEnd, runProgramNow } from "./program.ts";

/** How long another process may hold the lock of iptables, in seconds. */
const LOCK_SECONDS = 5;
const DIRECTORIES = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin"].filter((directory) => directory.startsWith("/"));
const PREFIX: Readonly<Record<Family, string>> = { 4: "iptables", 6: "ip6tables" };

const found = new Map<string, string | undefined>();

function findProgram(name: string): string | undefined {
  if (!found.has(name))
    found.set(
      name,
      DIRECTORIES.map((directory) => join(directory, name)).find((path) => existsSync(path)),
    );
  return found.get(name);
}

function lackOfIptables(): string | undefined {
  return findProgram("iptables-restore") && findProgram("ip6tables-restore")
    ? undefined
    : "iptables-restore is not on this machine (Debian: apt-get install iptables)";
}

/** `run` executes a function inside the namespace, and expects that the programs' transactions are announced. */
export function openIptables(run: <T>(action: () => T) => T, nft: () => Nftables): Iptables {
  const execute = (name: string, args: readonly string[], stdin: string): ProgramEnd => {
    const path = findProgram(name);
    if (path === undefined)
      throw new KernelError({ code: "iptables", errno: "ENOENT", operation: `run ${name}`, says: lackOfIptables() ?? "no such program" });
    const end = run(() => runProgramNow({ path, args, env: { PATH: DIRECTORIES.join(":") }, stdin }));
    if (end.status === 0) return end;
    throw new KernelError({
      code: "iptables",
      errno: /Permission denied|Operation not permitted/i.test(end.stderr) ? "EPERM" : "EINVAL",
      operation: name,
      subject: stdin.slice(0, 120).replaceAll("\n", " "),
      says: end.stderr.trim().split("\n").slice(0, 4).join("\n") || `it ended with status ${end.status}`,
    });
  };
  const save = (name: string, family: Family) => parseSave(execute(name, [], "").stdout, family);
  return {
    lack: lackOfIptables,
    save(family, { everywhere = false } = {}) {
      const kinds = run(() => kindsInUse(family, nft()));
      if (kinds.size === 0) return [];
      const standard = findProgram(`${PREFIX[family]}-save`);
      if (standard === undefined) return [];
      const own = isLegacy(standard) ? "legacy" : "nft";
      const tables: IptablesTable[] = kinds.has(own) ? save(`${PREFIX[family]}-save`, family) : [];
      if (!everywhere) return tables;
      const other = own === "nft" ? "legacy" : "nft";
      return kinds.has(other) && findProgram(`${PREFIX[family]}-${other}-save`)
        ? [...tables, ...save(`${PREFIX[family]}-${other}-save`, family)]
        : tables;
    },
    stamp() {
      const program = findProgram("iptables-restore");
      return program && isLegacy(program) ? run(legacyStamp) : "";
    },
    restore(family, commands) {
      execute(`${PREFIX[family]}-restore`, ["-w", String(LOCK_SECONDS), "--noflush"], commands);
    },
  };
}

/** IPT_SO_GET_INFO of linux/netfilter_ipv4/ip_tables.h, and its answer's size: a name of 32 bytes, then numbers of 4. */
const GET_INFO = 64;
const INFO_SIZE = 84;
const RAW_SOCKETS = [
  { domain: 2, level: 0 },
  { domain: 10, level: 41 },
] as const;
const IPPROTO_RAW = 255;

/** Where each chain of the tables begins, how many rules there are and how long they are. */
function legacyStamp(): string {
  return RAW_SOCKETS.map(({ domain, level }) => {
    const fd = call("socket", [domain, C.SOCK_RAW | C.SOCK_CLOEXEC, IPPROTO_RAW], { operation: "ask for the tables of iptables" });
    try {
      return ["nat", "filter"].map((table) => {
        const info = Buffer.alloc(INFO_SIZE);
        info.write(table);
        const length = Buffer.alloc(4);
        length.writeUInt32LE(INFO_SIZE);
        return libc("getsockopt")(fd, level, GET_INFO, info, length) === 0 ? info.toString("base64") : "";
      });
    } finally {
      closeSync(fd);
    }
  }).join();
}

/** iptables keeps its rules in tables of nftables, or in those of its own (legacy). */
function isLegacy(program: string): boolean {
  return realpathSync(program).includes("legacy");
}

/** Where there are rules of iptables at all: that is known without running a program. */
function kindsInUse(family: Family, nft: Nftables): ReadonlySet<"nft" | "legacy"> {
  const kinds = new Set<"nft" | "legacy">();
  if (nft.listTables().some((table) => table.family === (family === 4 ? "ip" : "ip6") && isIptablesTable(table))) kinds.add("nft");
  try {
    const names = readFileSync(`/proc/thread-self/net/${family === 4 ? "ip" : "ip6"}_tables_names`, "utf8");
    if (names.trim() !== "") kinds.add("legacy");
  } catch {
    // This kernel has no tables of that kind.
  }
  return kinds;
}
