// A container's `command` as a program of the host, run inside the pod: its network, its own /etc/resolv.conf and
// /etc/hosts, its own processes; the host's files read-only; a container's usual capabilities and no more.
import type { ChildProcess } from "node:child_process";
import { accessSync, constants, createWriteStream } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import type { NetworkNamespace } from "../../kernel/index.ts";

export interface CommandOptions {
  readonly namespace: NetworkNamespace;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly resolvConf: string;
  readonly hosts: string;
  readonly hostname: string;
  /** File that gets what the program prints. */
  readonly log: string;
}

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Fixed text: everything that comes from an object arrives as an argument.
const INSIDE = `
set -e
resolv=$1 hosts=$2 name=$3; shift 3
mount --bind "$resolv" "$(readlink -f /etc/resolv.conf)"
mount --bind "$hosts" /etc/hosts
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -o remount,bind,ro /
for closed in /proc/sys /sys; do mount --bind "$closed" "$closed" && mount -o remount,bind,ro "$closed"; done
hostname "$name" 2>/dev/null || true
exec setpriv --no-new-privs --bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap --inh-caps=-all -- "$@"
`;

/** The path of a program of the host, if it has it; `path` is where pods look for it, unless told. */
export function findProgram(name: string, path = PATH): string | undefined {
  const candidates = isAbsolute(name) ? [name] : name.includes("/") ? [] : path.split(delimiter).map((directory) => join(directory, name));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Arguments of \`unshare\` that run a program with the pod's files. */
export function podCommand(options: Pick<CommandOptions, "argv" | "resolvConf" | "hosts" | "hostname">): string[] {
  const isolation = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"];
  return [...isolation, "--", "sh", "-c", INSIDE, "pod", options.resolvConf, options.hosts, options.hostname, ...options.argv];
}

/** Starts the program. Its output goes to the log file. */
export function startCommand(options: CommandOptions): ChildProcess {
  const log = createWriteStream(options.log, { flags: "a", mode: 0o600 });
  const child = options.namespace.spawn("setpriv", ["--pdeathsig", "KILL", "--", "unshare", ...podCommand(options)], {
    env: { PATH, HOME: "/root", HOSTNAME: options.hostname, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
    cwd: "/",
  });
  child.stdout?.pipe(log, { end: false });
  child.stderr?.pipe(log, { end: false });
  child.on("close", () => log.end());
  return child;
}
