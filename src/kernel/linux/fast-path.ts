// The fast path of one namespace: its two programs, and the devices where they stand.
//
// The programs stay when this process ends: flows that are known end by themselves soon after. Those of an earlier process are told by
// their name; as their generation is out of reach, they are put in place anew.
import { closeSync, readFileSync } from "node:fs";
import { readKernelTypes } from "../bpf/btf.ts";
import { FLOW_BYTES, FLOW_KEY_BYTES, forwardingProgram, LAST_GENERATION, learningProgram, type TrackingTypes } from "../bpf/fast-path.ts";
import { isErrno, KernelError } from "../errors.ts";
import type { FastPath } from "../kernel.ts";
import { FLAG } from "../netlink/message.ts";
import {
  decodeClsact,
  decodeProgramName,
  encodeClsact,
  encodeFilterKey,
  encodeProgram,
  FILTER_MESSAGE,
  filterDump,
  type Hook,
  QDISC_MESSAGE,
  qdiscDump,
} from "../netlink/traffic-control.ts";
import { createMap, loadProgram, openModuleTypes, writeMap } from "./bpf.ts";
import type { NetlinkSocket } from "./socket.ts";

const KERNEL_TYPES = "/sys/kernel/btf/vmlinux";
/** Where connection tracking is a module, its types are told beside the kernel's. */
const MODULE = "nf_conntrack";
const MODULE_TYPES = `/sys/kernel/btf/${MODULE}`;
/** Flows whose packets are on their way at one time; more take the long way now and then. */
const MOST_FLOWS = 8192;
const NAMES = { ingress: "fairlead-forward", egress: "fairlead-learn" } as const;
const HOOKS = ["ingress", "egress"] as const;
/** Tells our filters from others' at the same hook. */
const [PRIORITY, HANDLE] = [84, 1];

interface Programs {
  readonly generation: number;
  readonly ingress: number;
  readonly egress: number;
  readonly fds: readonly number[];
}

const [LOOKUP, RELEASE, CHANGE_TIMEOUT] = ["bpf_skb_ct_lookup", "bpf_ct_release", "bpf_ct_change_timeout"] as const;
const NAMES_OF_TYPES = [LOOKUP, RELEASE, CHANGE_TIMEOUT, "nf_conn", "ip_ct_tcp"];

interface Types extends TrackingTypes {
  readonly fds: readonly number[];
}

/** What the kernel's types say; the same for all namespaces. */
let types: Types | undefined;

export class LinuxFastPath implements FastPath {
  readonly #socket: () => NetlinkSocket;
  readonly #track: () => void;
  /** By interface index: true where our programs stand, false where an earlier process' do, undefined where none does. */
  #standing = new Map<number, boolean | undefined>();
  #programs: Programs | undefined;
  #lack: { readonly reason: string | undefined } | undefined;
  #generation = 1;

  /** `socket`: rtnetlink of the namespace; `track` has the kernel load its connection tracking, where that is a module. */
  constructor(socket: () => NetlinkSocket, track: () => void) {
    this.#socket = socket;
    this.#track = track;
  }

  lack(): string | undefined {
    if (!this.#lack) {
      try {
        this.#load();
        this.#lack = { reason: undefined };
      } catch (error) {
        this.#lack = { reason: error instanceof Error ? error.message : String(error) };
      }
    }
    return this.#lack.reason;
  }

  /** Puts the programs at a device, or takes them away. @throws KernelError as the kernel says */
  set(ifindex: number, on: boolean): void {
    if (on) this.#attach(ifindex);
    else this.#detach(ifindex);
    this.#standing.set(ifindex, on || undefined);
  }

  /** What stands at each of these devices, which are all of the namespace's. Programs that are known are not read again, as long as the device has its hooks. */
  of(indexes: readonly number[]): (ifindex: number) => boolean | undefined {
    const known = this.#standing;
    if (this.#programs || indexes.some((index) => !known.has(index))) {
      const hooked = new Set(this.#list(QDISC_MESSAGE.get, qdiscDump(), decodeClsact));
      const look = (index: number) => {
        if (!hooked.has(index)) return undefined;
        if (known.has(index)) return known.get(index);
        return this.#names(index, "ingress").includes(NAMES.ingress) ? false : undefined;
      };
      this.#standing = new Map(indexes.map((index) => [index, look(index)]));
    }
    return (index) => this.#standing.get(index);
  }

  /** Forgets all flows that are known. */
  renew(): void {
    if (!this.#programs) return;
    this.#generation = (this.#generation % LAST_GENERATION) + 1;
    writeGeneration(this.#programs.generation, this.#generation);
  }

  close(): void {
    for (const fd of this.#programs?.fds ?? []) closeSync(fd);
    this.#programs = undefined;
  }

  #load(): Programs {
    types ??= readTypes(this.#track);
    this.#programs ??= loadPrograms(types, this.#generation);
    return this.#programs;
  }

  #attach(ifindex: number): void {
    const programs = this.#load();
    const socket = this.#socket();
    const context = { operation: "put the fast path's programs", subject: `interface ${ifindex}` };
    try {
      socket.request(QDISC_MESSAGE.new, FLAG.create | FLAG.exclusive, encodeClsact(ifindex), context);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
    }
    // First what learns nothing without the other.
    for (const hook of ["egress", "ingress"] as const) {
      const filter = { ifindex, hook, priority: PRIORITY, handle: HANDLE };
      const body = encodeProgram(filter, { fd: programs[hook], name: NAMES[hook] });
      socket.request(FILTER_MESSAGE.new, FLAG.create | FLAG.replace, body, context);
    }
  }

  #detach(ifindex: number): void {
    const socket = this.#socket();
    const context = { operation: "take away the fast path's programs", subject: `interface ${ifindex}` };
    const gone = (request: () => void) => {
      try {
        request();
      } catch (error) {
        if (!isErrno(error, "ENOENT", "EINVAL")) throw error;
      }
    };
    for (const hook of HOOKS) {
      const key = encodeFilterKey({ ifindex, hook, priority: PRIORITY, handle: HANDLE });
      gone(() => socket.request(FILTER_MESSAGE.delete, 0, key, context));
    }
    // The hooks stay where others have programs there.
    if (HOOKS.every((hook) => this.#names(ifindex, hook).length === 0))
      gone(() => socket.request(QDISC_MESSAGE.delete, 0, encodeClsact(ifindex), context));
  }

  #names(ifindex: number, hook: Hook): string[] {
    return this.#list(FILTER_MESSAGE.get, filterDump(ifindex, hook), decodeProgramName);
  }

  #list<T>(type: number, body: Uint8Array, decode: (body: Uint8Array) => T | undefined): T[] {
    try {
      return this.#socket().dump(type, body, (message) => decode(message.body), { operation: "list the programs at a device" });
    } catch (error) {
      // The device, or its hooks, have gone meanwhile; or the kernel has no traffic control.
      if (isErrno(error, "EINVAL", "ENODEV", "ENOENT", "EOPNOTSUPP")) return [];
      throw error;
    }
  }
}

/** @throws KernelError where the kernel can't */
function loadPrograms(types: Types, generation: number): Programs {
  const fds: number[] = [];
  const hold = (fd: number) => {
    fds.push(fd);
    return fd;
  };
  try {
    const flows = hold(createMap({ name: "fairlead_flows", type: "lruHash", key: FLOW_KEY_BYTES, value: FLOW_BYTES, entries: MOST_FLOWS }));
    const current = hold(createMap({ name: "fairlead_gen", type: "array", key: 4, value: 4, entries: 1 }));
    writeGeneration(current, generation);
    const maps = { flows, generation: current };
    const ingress = hold(loadProgram("fairlead_fwd", forwardingProgram(maps)));
    const egress = hold(loadProgram("fairlead_learn", learningProgram(maps, types), types.fds));
    return { generation: current, ingress, egress, fds };
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
}

function writeGeneration(map: number, generation: number): void {
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, generation, true);
  writeMap(map, new Uint8Array(4), value);
}

/** @throws KernelError EOPNOTSUPP where programs can't ask connection tracking */
function readTypes(track: () => void): Types {
  const own = typesOf(KERNEL_TYPES);
  if (own === undefined) throw lacks(`the kernel does not tell its types: no ${KERNEL_TYPES}`);
  const kernel = readKernelTypes(own, NAMES_OF_TYPES);
  if (kernel.functionId(LOOKUP) === undefined) track();
  const beside = kernel.functionId(LOOKUP) === undefined ? typesOf(MODULE_TYPES) : undefined;
  const found = beside ? readKernelTypes(beside, NAMES_OF_TYPES, kernel.end) : kernel;
  const module = beside ? openModuleTypes(MODULE) : undefined;
  const [lookup, release, changeTimeout] = [LOOKUP, RELEASE, CHANGE_TIMEOUT].map((name) => found.functionId(name));
  const place = (structure: string, member: string) => found.memberOffset(structure, member) ?? kernel.memberOffset(structure, member);
  const [status, protocol, state] = [place("nf_conn", "status"), place("nf_conn", "proto"), place("ip_ct_tcp", "state")];
  const known = lookup !== undefined && release !== undefined && (!beside || module !== undefined);
  if (!known || status === undefined || protocol === undefined || state === undefined) throw lacks(`there is no ${LOOKUP} (Linux 5.19)`);
  const btf = beside ? 1 : 0;
  return {
    lookup: { id: lookup, btf },
    release: { id: release, btf },
    ...(changeTimeout === undefined ? {} : { changeTimeout: { id: changeTimeout, btf } }),
    status,
    tcpState: protocol + state,
    fds: module === undefined ? [] : [module],
  };
}

const lacks = (says: string) => new KernelError({ errno: "EOPNOTSUPP", operation: "ask connection tracking from BPF", says });

function typesOf(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
