// bpf(2): maps, programs, and the kernel's types (linux/bpf.h).
import { closeSync } from "node:fs";
import { KernelError } from "../errors.ts";
import { addressOf, call, errno, libc } from "./libc.ts";

const SYS_BPF = process.arch === "arm64" ? 280 : 321;
const COMMAND = { mapCreate: 0, mapUpdate: 2, programLoad: 5, describe: 15, btfById: 19, nextBtf: 23 } as const;
const MAP_TYPE = { array: 2, lruHash: 9 } as const;
const PROGRAM_SCHED_CLS = 3;
const LICENCE = Buffer.from("Dual MIT/GPL\0", "latin1");
const LOG_BYTES = 1 << 20;
const ENOENT = 2;

/** union bpf_attr: 32-bit numbers and addresses (64 bits) at their places. */
function attributes(fields: readonly (readonly [at: number, value: number | Uint8Array])[]): Buffer {
  const bytes = Buffer.alloc(144);
  for (const [at, value] of fields) {
    if (typeof value === "number") bytes.writeUInt32LE(value, at);
    else bytes.writeBigUInt64LE(BigInt(addressOf(value)), at);
  }
  return bytes;
}

function bpf(command: number, attribute: Buffer, operation: string, subject: string): number {
  return call("syscall", [SYS_BPF, command, addressOf(attribute), attribute.length], { operation, subject });
}

/** @returns the map's descriptor. @throws KernelError EPERM, EINVAL, E2BIG */
export function createMap(map: {
  readonly name: string;
  readonly type: keyof typeof MAP_TYPE;
  /** In bytes. */
  readonly key: number;
  readonly value: number;
  readonly entries: number;
}): number {
  const attribute = attributes([
    [0, MAP_TYPE[map.type]],
    [4, map.key],
    [8, map.value],
    [12, map.entries],
  ]);
  attribute.write(map.name.slice(0, 15), 28, "latin1");
  return bpf(COMMAND.mapCreate, attribute, "create a BPF map", map.name);
}

/** @throws KernelError E2BIG, ENOENT */
export function writeMap(map: number, key: Uint8Array, value: Uint8Array): void {
  bpf(
    COMMAND.mapUpdate,
    attributes([
      [0, map],
      [8, key],
      [16, value],
    ]),
    "write to a BPF map",
    "",
  );
}

/** The BTF of a module that is loaded, as programs that call it need it; undefined where there is none. @returns its descriptor. @throws KernelError EPERM */
export function openModuleTypes(module: string): number | undefined {
  const context = ["find a module's types", module] as const;
  for (let id = 0; ; ) {
    const next = attributes([[0, id]]);
    if (Number(libc("syscall")(SYS_BPF, COMMAND.nextBtf, addressOf(next), next.length)) < 0) {
      if (errno() === ENOENT) return undefined;
      throw new KernelError({ errno: errno(), operation: context[0], subject: module });
    }
    id = next.readUInt32LE(4);
    const fd = bpf(COMMAND.btfById, attributes([[0, id]]), ...context);
    const name = Buffer.alloc(64);
    const info = Buffer.alloc(32);
    info.writeBigUInt64LE(BigInt(addressOf(name)), 16);
    info.writeUInt32LE(name.length, 24);
    bpf(
      COMMAND.describe,
      attributes([
        [0, fd],
        [4, info.length],
        [8, info],
      ]),
      ...context,
    );
    if (name.toString("latin1", 0, name.indexOf(0)) === module) return fd;
    closeSync(fd);
  }
}

/** Has the kernel verify and take a program for packets at a device; `types`: what its calls of modules' functions refer to, from 1 on. @returns its descriptor. @throws KernelError EACCES, EINVAL with the verifier's last words */
export function loadProgram(name: string, instructions: Uint8Array, types: readonly number[] = []): number {
  const typeFds = Buffer.alloc(4 * (types.length + 1));
  for (const [index, fd] of types.entries()) typeFds.writeInt32LE(fd, 4 * (index + 1));
  const load = (log?: Buffer): number => {
    const attribute = attributes([
      [0, PROGRAM_SCHED_CLS],
      [4, instructions.length / 8],
      [8, instructions],
      [16, LICENCE],
      ...(types.length > 0 ? ([[120, typeFds]] as const) : []),
      ...(log
        ? ([
            [24, 1],
            [28, log.length],
            [32, log],
          ] as const)
        : []),
    ]);
    attribute.write(name.slice(0, 15), 48, "latin1");
    return Number(libc("syscall")(SYS_BPF, COMMAND.programLoad, addressOf(attribute), attribute.length));
  };
  const loaded = load();
  if (loaded >= 0) return loaded;
  // Once more, for the verifier's words.
  const log = Buffer.alloc(LOG_BYTES);
  const again = load(log);
  if (again >= 0) return again;
  const failed = errno();
  const words = log.toString("latin1", 0, Math.max(0, log.indexOf(0))).trimEnd();
  throw new KernelError({ errno: failed, operation: "load a BPF program", subject: name, says: words.split("\n").slice(-8).join("; ") });
}
