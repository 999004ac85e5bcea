// RTM_*QDISC and RTM_*TFILTER: programs that see each packet at a device's ingress and egress (linux/rtnetlink.h, linux/pkt_cls.h).
import { type AttributeValues, concatBytes, decodeAttributes, encodeAttributes, readU32, writeU32 } from "./attribute.ts";

export const QDISC_MESSAGE = { new: 36, delete: 37, get: 38 } as const;
export const FILTER_MESSAGE = { new: 44, delete: 45, get: 46 } as const;

/** TC_H_CLSACT, and its two hooks. */
const CLSACT = { handle: 0xffff_0000, parent: 0xffff_fff1 } as const;
const HOOKS = { ingress: 0xffff_fff2, egress: 0xffff_fff3 } as const;
export type Hook = keyof typeof HOOKS;

/** ETH_P_ALL, in network order. */
const EVERY_PROTOCOL = 0x0300;
/** TCA_BPF_FLAG_ACT_DIRECT: the program says itself what becomes of the packet. */
const ACT_DIRECT = 1;
const HEADER = 20;

const CONTROL = {
  kind: [1, "string"],
  options: [2, { fd: [6, "u32"], name: [7, "string"], flags: [8, "u32"] }],
} as const;

/** A BPF program at a hook. Priority and handle tell it from others' there. */
export interface ProgramFilter {
  readonly ifindex: number;
  readonly hook: Hook;
  /** Lower ones are asked first. */
  readonly priority: number;
  readonly handle: number;
}

/** struct tcmsg and its attributes. */
function encode(fields: readonly [ifindex: number, handle: number, parent: number, info: number], values: AttributeValues<typeof CONTROL>) {
  const header = new Uint8Array(HEADER);
  for (const [index, value] of fields.entries()) writeU32(header, 4 + 4 * index, value);
  return concatBytes([header, encodeAttributes(CONTROL, values)]);
}

/** The qdisc that has nothing but the two hooks. */
export function encodeClsact(ifindex: number): Uint8Array {
  return encode([ifindex, CLSACT.handle, CLSACT.parent, 0], { kind: "clsact" });
}

/** All devices' qdiscs. */
export function qdiscDump(): Uint8Array {
  return new Uint8Array(HEADER);
}

/** The device, where it is a qdisc with the hooks. */
export function decodeClsact(body: Uint8Array): number | undefined {
  if (body.length < HEADER) return undefined;
  return decodeAttributes(CONTROL, body.subarray(HEADER)).kind === "clsact" ? readU32(body, 4) : undefined;
}

export function encodeProgram(filter: ProgramFilter, program: { readonly fd: number; readonly name: string }): Uint8Array {
  return encodeFilter(filter, { kind: "bpf", options: { fd: program.fd, name: program.name, flags: ACT_DIRECT } });
}

/** What names a filter that is to be deleted. */
export function encodeFilterKey(filter: ProgramFilter): Uint8Array {
  return encodeFilter(filter, { kind: "bpf" });
}

function encodeFilter({ ifindex, hook, priority, handle }: ProgramFilter, values: AttributeValues<typeof CONTROL>): Uint8Array {
  return encode([ifindex, handle, HOOKS[hook], ((priority << 16) | EVERY_PROTOCOL) >>> 0], values);
}

/** All filters at a hook. */
export function filterDump(ifindex: number, hook: Hook): Uint8Array {
  return encode([ifindex, 0, HOOKS[hook], 0], {});
}

/** The name of a program that is a filter, "" for a filter of another kind; undefined for what is no filter (the kernel tells a priority's chain as well). */
export function decodeProgramName(body: Uint8Array): string | undefined {
  if (body.length < HEADER || readU32(body, 8) === 0) return undefined;
  return decodeAttributes(CONTROL, body.subarray(HEADER)).options?.name ?? "";
}
