// bpf(2): maps, programs, and the kernel's types (linux/bpf.h).
import { closeSync } from "node:fs";
import { KernelError, type KernelFailure } from "../errors.ts";
import { addressOf, errno, libc } from "./libc.ts";

const SYS_BPF = process.arch === "arm64" ? 280 : 321;
const COMMAND = { mapCreate: 0, mapUpdate: 2, programLoad: 5, describe: 15, btfById: 19, nextBtf: 23 } as const;
const MAP_TYPE = { array: 2, lruHash: 9 } as const;
const PROGRAM_SCHED_CLS = 3;
const LICENCE = Buffer.from("Dual MIT/GPL\0", "latin1");
const LOG_BYTES = 1 << 20;
/** Where BPF_BTF_GET_NEXT_ID answers, and struct bpf_btf_info. */
const NEXT_ID = 4;
const BTF_INFO = { length: 32, name: 16, nameLength: 24 } as const;
const [EPERM, ENOENT] = [1, 2];
const VERIFIER = "the kernel's verifier does not take it: that is a fault of the program, or the kernel is too old";
const PRIVILEGE = "it takes the machine's root, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN; root of a user namespace may not";

/** Fields of union bpf_attr at their places: 32-bit numbers, addresses of bytes (64 bits), and names. */
type Fields = readonly (readonly [at: number, value: number | Uint8Array | string])[];

/** Longer than any command's. */
const ATTRIBUTE_BYTES = 144;
const NAME_LENGTH = 15;
/** What the kernel reads or writes at this moment: it must not be collected. */
const held = new Set<Fields>();

/** @returns what the kernel answers; below 0 where it refuses, and then errno() tells why. Some commands answer within `attribute`. */
function attempt(command: number, fields: Fields, attribute = Buffer.alloc(ATTRIBUTE_BYTES)): number {
  held.add(fields);
  for (const [at, value] of fields) {
    if (typeof value === "number") attribute.writeUInt32LE(value, at);
    else if (typeof value === "string") attribute.write(value.slice(0, NAME_LENGTH), at, "latin1");
    else attribute.writeBigUInt64LE(BigInt(addressOf(value)), at);
  }
  const result = Number(libc("syscall")(SYS_BPF, command, addressOf(attribute), attribute.length));
  held.delete(fields);
  return result;
}

/** @throws KernelError */
function bpf(command: number, fields: Fields, operation: string, subject: string): number {
  const result = attempt(command, fields);
  if (result < 0) throw refused({ operation, subject });
  return result;
}

function refused(failure: Omit<KernelFailure, "errno">): KernelError {
  const number = errno();
  return new KernelError({ ...failure, errno: number, remedy: number === EPERM ? PRIVILEGE : failure.remedy });
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
  const fields: Fields = [
    [0, MAP_TYPE[map.type]],
    [4, map.key],
    [8, map.value],
    [12, map.entries],
    [28, map.name],
  ];
  return bpf(COMMAND.mapCreate, fields, "create a BPF map", map.name);
}

/** @throws KernelError E2BIG, ENOENT */
export function writeMap(map: number, key: Uint8Array, value: Uint8Array): void {
  const fields: Fields = [
    [0, map],
    [8, key],
    [16, value],
  ];
  bpf(COMMAND.mapUpdate, fields, "write to a BPF map", `descriptor ${map}`);
}

/** The BTF of a module that is loaded, as programs that call it need it; undefined where there is none. @returns its descriptor. @throws KernelError EPERM */
export function openModuleTypes(module: string): number | undefined {
  const operation = "find a module's types";
  const next = Buffer.alloc(ATTRIBUTE_BYTES);
  while (attempt(COMMAND.nextBtf, [[0, next.readUInt32LE(NEXT_ID)]], next) >= 0) {
    const fd = bpf(COMMAND.btfById, [[0, next.readUInt32LE(NEXT_ID)]], operation, module);
    const name = Buffer.alloc(64);
    const info = Buffer.alloc(BTF_INFO.length);
    info.writeBigUInt64LE(BigInt(addressOf(name)), BTF_INFO.name);
    info.writeUInt32LE(name.length, BTF_INFO.nameLength);
    const fields: Fields = [
      [0, fd],
      [4, info.length],
      [8, info],
    ];
    bpf(COMMAND.describe, fields, operation, module);
    if (name.toString("latin1", 0, name.indexOf(0)) === module) return fd;
    closeSync(fd);
  }
  if (errno() === ENOENT) return undefined;
  throw refused({ operation, subject: module });
}

/** Has the kernel verify and take a program for packets at a device; `types`: what its calls of modules' functions refer to, from 1 on. @returns its descriptor. @throws KernelError EACCES, EINVAL with the verifier's last words */
export function loadProgram(name: string, instructions: Uint8Array, types: readonly number[] = []): number {
  const typeFds = Buffer.alloc(4 * (types.length + 1));
  for (const [index, fd] of types.entries()) typeFds.writeInt32LE(fd, 4 * (index + 1));
  const load = (log?: Buffer): number =>
    attempt(COMMAND.programLoad, [
      [0, PROGRAM_SCHED_CLS],
      [4, instructions.length / 8],
      [8, instructions],
      [16, LICENCE],
      [48, name],
      ...(types.length > 0 ? ([[120, typeFds]] as const) : []),
      ...(log
        ? ([
            [24, 1],
            [28, log.length],
            [32, log],
          ] as const)
        : []),
    ]);
  const loaded = load();
  if (loaded >= 0) return loaded;
  // Once more, for the verifier's words.
  const log = Buffer.alloc(LOG_BYTES);
  const again = load(log);
  if (again >= 0) return again;
  const words = log.toString("latin1", 0, Math.max(0, log.indexOf(0))).trimEnd();
  throw refused({ operation: "load a BPF program", subject: name, says: words.split("\n").slice(-3).join("; "), remedy: VERIFIER });
}
