// A container as a program of the host: the pod's network, its own /etc/resolv.conf, /etc/hosts and volumes, its own processes;
// a file system that looks like the host's and that only the container changes; a container's usual capabilities and no more.
import { accessSync, constants, readFileSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

export interface VolumeMount {
  /** A file or directory below the pod's volumes. */
  readonly source: string;
  /** Where the container sees it. */
  readonly target: string;
  readonly readOnly: boolean;
}

export interface SandboxFiles {
  /** The pod's directory: resolv.conf, hosts, volumes/, containers/. */
  readonly directory: string;
  readonly container: string;
  readonly hostname: string;
  readonly mounts: readonly VolumeMount[];
}

export const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Where Fairlead is installed. */
const HOME = fileURLToPath(new URL("../../..", import.meta.url)).replace(/\/$/, "");

const CAPABILITIES =
  "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";
const CONFINE = ["setpriv", "--no-new-privs", `--bounding-set=${CAPABILITIES}`, "--inh-caps=-all"];

// Fixed texts: everything that comes from an object arrives as an argument.
// Where an overlay of the host's files can't be had (without root), they are seen as they are, read-only.
const INSIDE = `
set -e
setup=$1 pod=$2 own=$3; shift 3
mkdir -p "$own/upper" "$own/work" "$own/root" "$own/tmp"
chmod 1777 "$own/tmp"
root=$own/root
if mount -t overlay overlay -o "lowerdir=/,upperdir=$own/upper,workdir=$own/work" "$root" 2>/dev/null; then
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mkdir -p "$root/mnt"
  mount --rbind "$pod" "$root/mnt"
  exec chroot "$root" sh -c "$setup" setup own "$@"
fi
mount --rbind "$pod" /mnt
exec sh -c "$setup" setup seen "$@"
`;

// Within the container's own root, so that no link leads a mount elsewhere. The pod's directory is at /mnt meanwhile.
const SETUP = `
set -e
files=$1 container=$2 name=$3 home=$4 mounts=$5; shift 5
point() {
  [ "$files" = own ] || [ "\${2#/run/}" != "$2" ] || { [ -e "$2" ]; return; }
  if [ -d "$1" ]; then mkdir -p "$2"; else mkdir -p "\${2%/*}" && { [ -e "$2" ] || : >"$2"; }; fi
}
mount -t tmpfs -o mode=755 tmpfs /run
resolv=$(readlink -f /etc/resolv.conf)
point /mnt/resolv.conf "$resolv"
mount --bind /mnt/resolv.conf "$resolv"
mount --bind /mnt/hosts /etc/hosts
tmp=/mnt/containers/$container/tmp
# Fairlead's own programs are there for pods to run, also where they live below /tmp.
if [ "\${home#/tmp/}" != "$home" ]; then
  mkdir -p "$tmp\${home#/tmp}"
  mount --bind "$home" "$tmp\${home#/tmp}"
  mount -o remount,bind,ro "$tmp\${home#/tmp}"
fi
mount --rbind "$tmp" /tmp
while [ "$mounts" -gt 0 ]; do
  target=$(readlink -m "$2")
  if point "/mnt/volumes/$1" "$target" && mount --rbind "/mnt/volumes/$1" "$target"; then
    [ "$3" = rw ] || mount -o remount,bind,ro "$target"
  else
    echo "cannot mount a volume at $2" >&2
  fi
  mounts=$((mounts - 1)); shift 3
done
umount -l /mnt
[ "$files" = own ] || mount -o remount,bind,ro /
for closed in /proc/sys /sys; do mount --bind "$closed" "$closed" && mount -o remount,bind,ro "$closed"; done
hostname "$name" 2>/dev/null || true
dir=$1; shift
[ "$files" != own ] || mkdir -p "$dir" 2>/dev/null || true
cd "$dir" 2>/dev/null || cd /
exec "$@"
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

/** The words that run a program in a sandbox of its own; they end with the process that started them. */
export function sandboxCommand(files: SandboxFiles, argv: readonly string[], workingDirectory = "/"): string[] {
  const isolation = ["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"];
  const { directory, container, hostname } = files;
  const mounts = files.mounts.flatMap(({ source, target, readOnly }) => [source, target, readOnly ? "ro" : "rw"]);
  const own = join(directory, "containers", container);
  const given = [SETUP, directory, own, container, hostname, HOME, String(files.mounts.length), ...mounts, workingDirectory];
  return [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "--",
    "unshare",
    ...isolation,
    "--",
    "sh",
    "-c",
    INSIDE,
    "pod",
    ...given,
    ...CONFINE,
    "--",
    ...argv,
  ];
}

/** The words that run a program in the sandbox whose first process is given. The network is entered by whoever starts them. */
export function enterCommand(pid: number, argv: readonly string[], workingDirectory = "/"): string[] {
  const enter = ["nsenter", `--target=${pid}`, "--mount", "--pid", "--uts", "--ipc", "--root", "--wd"];
  const change = ["sh", "-c", 'cd "$1" 2>/dev/null || cd /; shift; exec "$@"', "enter", workingDirectory];
  return [...enter, "--", "setpriv", "--pdeathsig", "KILL", "--", ...change, ...CONFINE, "--", ...argv];
}

/**
 * The first process inside a sandbox, once its file system stands; undefined if the sandbox ended before.
 * `pid`: the process that was started with sandboxCommand's words.
 */
export async function firstProcess(pid: number): Promise<number | undefined> {
  for (let tries = 0; tries < 2000; tries++) {
    const inner = childOf(pid);
    if (inner === undefined && !isAlive(pid)) return undefined;
    if (inner !== undefined && isReady(inner)) return inner;
    await new Promise((resolve) => setTimeout(resolve, Math.min(1 + tries, 20)));
  }
  return undefined;
}

function childOf(pid: number): number | undefined {
  try {
    const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
    return first ? Number(first) : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

/** Whether the set-up is over: the process has become setpriv, or the program. */
function isReady(pid: number): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return words[0] !== "" && words[0] !== "unshare" && words[0] !== "chroot" && words[2] !== INSIDE && words[2] !== SETUP;
  } catch {
    return false;
  }
}

/**
 * Asks a program that is the first process of its sandbox to end. The kernel shields such a process from signals that it does not
 * handle (pid_namespaces(7)): one that would have died of SIGTERM elsewhere is killed.
 */
export function askToEnd(pid: number): void {
  try {
    const caught = /^SigCgt:\s*([0-9a-f]+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
    const handles = (BigInt(`0x${caught}`) & (1n << 14n)) !== 0n;
    process.kill(pid, handles ? "SIGTERM" : "SIGKILL");
  } catch {
    // It has ended already.
  }
}
