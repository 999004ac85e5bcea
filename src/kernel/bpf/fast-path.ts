// Two programs that take established TCP connections past routing and netfilter.
//
//            ingress of a device                               egress of a device
//   packet ─▶ its flow is known: new MAC addresses, TTL − 1 ──────────▶ sent
//        └──▶ it is not: stamped with the generation ─▶ routing, netfilter, connection tracking ─▶ tracked, established and
//                                                                            not translated: its flow is known for PERIOD
//
// What is known ends after PERIOD: the next packet goes the long way, so connection tracking keeps the connection, and a route or a
// neighbour that changed is found. A new generation ends all of it at once; that comes with each deletion of a tracked connection.
// A packet that was stamped with an older generation than the one at the egress teaches nothing.
import { BpfAssembler, type KernelFunction, type Register } from "./assembler.ts";

/** Generations go from 1 to this one, and around: the stamp (tc_index) has 16 bits, and 0 means none. */
export const LAST_GENERATION = 0xffff;

/** How long a flow's packets are sent on without asking, in nanoseconds. */
const PERIOD = 50_000_000;
/** How long one that can't be known (it is translated, not tracked) is not looked up again, in nanoseconds. */
const PERIOD_OF_NONE = 1_000_000_000;

/** struct __sk_buff (linux/bpf.h). */
const SKB = { packetType: 4, vlanPresent: 20, ingressIfindex: 36, ifindex: 40, stamp: 44, data: 76, dataEnd: 80 } as const;
const HELPER = { mapLookup: 1, mapUpdate: 2, mapDelete: 3, redirect: 23, clock: 160, checkMtu: 163 } as const;
const CHECK_SEGMENTS = 1;
/** TCX_NEXT: the packet goes on as if no program were there. */
const GO_ON = -1;

/** enum ip_conntrack_status (linux/netfilter/nf_conntrack_common.h). */
const STATUS = { seenReply: 1 << 1, assured: 1 << 2, sourceNat: 1 << 4, destinationNat: 1 << 5, sequenceAdjusted: 1 << 6, helper: 1 << 13 };
const UNFIT = STATUS.sourceNat | STATUS.destinationNat | STATUS.sequenceAdjusted | STATUS.helper;

/** Places in a frame, in bytes, and what the fields hold. */
const ETHERNET = { type: 12, length: 14 } as const;
const TCP = { length: 20, flags: 13, protocol: 6, fin: 1, syn: 2, rst: 4 } as const;
/** enum tcp_conntrack (linux/netfilter/nf_conntrack_tcp.h). */
const ESTABLISHED = 3;
/** How long a connection that was reset is remembered, in milliseconds: connection tracking's own time. */
const RESET_MS = 10_000;
interface Format {
  /** As the processor reads it (little endian). */
  readonly type: number;
  readonly header: number;
  readonly source: number;
  readonly destination: number;
  /** Of an address. */
  readonly bytes: 4 | 16;
  /** struct bpf_sock_tuple. */
  readonly tuple: number;
}
const IPV4: Format = { type: 0x0008, header: 20, source: 12, destination: 16, bytes: 4, tuple: 12 };
const IPV6: Format = { type: 0xdd86, header: 40, source: 8, destination: 24, bytes: 16, tuple: 36 };
const FORMATS = [IPV4, IPV6] as const;

/** A flow: { interface it comes in by, both ports, source, destination }. */
export const FLOW_KEY_BYTES = 40;
/** What is known: { interface it leaves by (0: nothing), generation, until when (ns), destination and source MAC }. */
export const FLOW_BYTES = 32;
const FLOW = { out: 0, generation: 4, until: 8, macs: 16 } as const;

/** Places on the stack, below r10. */
const KEY = -FLOW_KEY_BYTES;
const KEY_FIELDS = { ifindex: KEY, ports: KEY + 4, source: KEY + 8, destination: KEY + 24 } as const;
const NOW = KEY - 8;
const OPTIONS = NOW - 16;
const TUPLE = OPTIONS - 40;
const VALUE = TUPLE - FLOW_BYTES;
/** struct bpf_ct_opts as of Linux 5.19, which later ones take too. */
const OPTIONS_BYTES = 12;

/** Descriptors of the maps: an LRU hash of flows, and an array whose one element is the generation (32 bits, 1 to 65535). */
export interface FastPathMaps {
  readonly flows: number;
  readonly generation: number;
}

/** What the kernel's BTF says. */
export interface TrackingTypes {
  /** bpf_skb_ct_lookup */
  readonly lookup: KernelFunction;
  /** bpf_ct_release */
  readonly release: KernelFunction;
  /** bpf_ct_change_timeout, of Linux 6.0. */
  readonly changeTimeout?: KernelFunction;
  /** Where `status` and the state of TCP lie in struct nf_conn, in bytes. */
  readonly status: number;
  readonly tcpState: number;
}

/** What registers hold that calls leave alone: the packet's context, its first byte, what is behind its last, and the generation. */
const [CONTEXT, DATA, END, GENERATION] = ["r6", "r7", "r8", "r9"] as const;

function begin(): BpfAssembler {
  return new BpfAssembler().move(CONTEXT, "r1").load(4, DATA, CONTEXT, SKB.data).load(4, END, CONTEXT, SKB.dataEnd);
}

function loadGeneration(code: BpfAssembler, maps: FastPathMaps): void {
  code.loadMapValue("r1", maps.generation).load(4, GENERATION, "r1", 0);
}

/** Where fewer than so many bytes lie in one piece, on to the label. */
function need(code: BpfAssembler, bytes: number, label: string): void {
  code.move("r2", DATA).compute("r2", "+", bytes).jumpIf("r2", ">", END, label);
}

/** Copies to the stack, four bytes at a time. */
function copy(code: BpfAssembler, to: number, from: Register, at: number, bytes: number): void {
  for (let done = 0; done < bytes; done += 4) code.load(4, "r2", from, at + done).store(4, "r10", to + done, "r2");
}

/** Writes the key of a packet of TCP, with a field of the context for the interface; what is none, on to the label. */
function writeKey(code: BpfAssembler, format: Format, ifindex: number, label: string): void {
  const transport = ETHERNET.length + format.header;
  need(code, transport + TCP.length, label);
  const at = (field: number) => ETHERNET.length + field;
  if (format === IPV4) {
    // No options, no fragment, TTL left.
    code.load(1, "r2", DATA, at(0)).jumpIf("r2", "!=", 0x45, label);
    code.load(2, "r2", DATA, at(6)).jumpIf("r2", "&", 0xff3f, label);
    code.load(1, "r2", DATA, at(8)).jumpIf("r2", "<=", 1, label);
    code.load(1, "r2", DATA, at(9)).jumpIf("r2", "!=", TCP.protocol, label);
  } else {
    code.load(1, "r2", DATA, at(6)).jumpIf("r2", "!=", TCP.protocol, label);
    code.load(1, "r2", DATA, at(7)).jumpIf("r2", "<=", 1, label);
  }
  code.load(4, "r2", CONTEXT, ifindex).store(4, "r10", KEY_FIELDS.ifindex, "r2");
  code.load(4, "r2", DATA, transport).store(4, "r10", KEY_FIELDS.ports, "r2");
  for (const field of ["source", "destination"] as const) {
    copy(code, KEY_FIELDS[field], DATA, at(format[field]), format.bytes);
    if (format === IPV4) code.store(4, "r10", KEY_FIELDS[field] + 4, 0).store(8, "r10", KEY_FIELDS[field] + 8, 0);
  }
}

/** On to the label where a packet has one of the flags. */
function ifFlags(code: BpfAssembler, format: Format, flags: number, label: string): void {
  code.load(1, "r2", DATA, ETHERNET.length + format.header + TCP.flags).jumpIf("r2", "&", flags, label);
}

function lookUp(code: BpfAssembler, maps: FastPathMaps): void {
  code.loadMap("r1", maps.flows).move("r2", "r10").compute("r2", "+", KEY).call(HELPER.mapLookup);
}

/** Forgets the flow of the key, and that of its answers. */
function forget(code: BpfAssembler, maps: FastPathMaps, label: string): void {
  const known = "r9";
  const answers = TUPLE - 8;
  lookUp(code, maps);
  code.jumpIf("r0", "==", 0, label).move(known, "r0");
  code.load(4, "r2", known, FLOW.out).store(4, "r10", answers, "r2");
  code.load(2, "r2", "r10", KEY_FIELDS.ports).store(2, "r10", answers + 6, "r2");
  code.load(2, "r2", "r10", KEY_FIELDS.ports + 2).store(2, "r10", answers + 4, "r2");
  copy(code, answers + 8, "r10", KEY_FIELDS.destination, 16);
  copy(code, answers + 24, "r10", KEY_FIELDS.source, 16);
  for (const key of [answers, KEY]) code.loadMap("r1", maps.flows).move("r2", "r10").compute("r2", "+", key).call(HELPER.mapDelete);
}

/** Writes what is done with packets of TCP of each family, once their key is written; all others are left alone. */
function forEachFormat(code: BpfAssembler, ifindex: number, write: (format: Format) => void): void {
  need(code, ETHERNET.length, "go on");
  code.load(2, "r3", DATA, ETHERNET.type);
  for (const format of FORMATS) {
    const other = `not ${format.bytes}`;
    code.jumpIf("r3", "!=", format.type, other);
    writeKey(code, format, ifindex, "go on");
    write(format);
    code.label(other);
  }
}

/** Sends on what is known, and stamps what is not. */
export function forwardingProgram(maps: FastPathMaps): Uint8Array {
  const code = begin();
  forEachFormat(code, SKB.ifindex, (format) => {
    // PACKET_HOST: what is for another device's MAC address is not forwarded. Nor is what belongs to a VLAN of this device.
    for (const field of [SKB.packetType, SKB.vlanPresent]) code.load(4, "r2", CONTEXT, field).jumpIf("r2", "!=", 0, "go on");
    const ending = `ending ${format.bytes}`;
    ifFlags(code, format, TCP.fin | TCP.syn | TCP.rst, ending);
    loadGeneration(code, maps);
    code.store(4, CONTEXT, SKB.stamp, GENERATION);
    lookUp(code, maps);
    code.jumpIf("r0", "==", 0, "go on");
    code.load(4, "r2", "r0", FLOW.generation).jumpIf("r2", "!=", GENERATION, "go on");
    code.move(GENERATION, "r0");
    code.call(HELPER.clock).load(8, "r2", GENERATION, FLOW.until).jumpIf("r0", ">", "r2", "go on");
    code.load(4, "r2", GENERATION, FLOW.out).jumpIf("r2", "==", 0, "go on");
    code.store(4, "r10", NOW, 0).move("r1", CONTEXT).move("r3", "r10").compute("r3", "+", NOW).move("r4", 0).move("r5", CHECK_SEGMENTS);
    code.call(HELPER.checkMtu).jumpIf("r0", "!=", 0, "go on");
    const ttl = ETHERNET.length + (format === IPV4 ? 8 : 7);
    code.load(1, "r2", DATA, ttl).compute("r2", "-", 1).store(1, DATA, ttl, "r2");
    if (format === IPV4) {
      // RFC 1624, for one less in the upper byte of a word: one more in that of the sum, whose carry comes back in.
      const sum = ETHERNET.length + 10;
      code.load(2, "r2", DATA, sum).compute("r2", "+", 1).move("r3", "r2").compute("r3", ">>", 16).compute("r2", "+", "r3");
      code.store(2, DATA, sum, "r2");
    }
    for (const at of [0, 4, 8]) code.load(4, "r2", GENERATION, FLOW.macs + at).store(4, DATA, at, "r2");
    // From a register: before Linux 6.3 the context takes nothing else.
    code.move("r2", 0).store(4, CONTEXT, SKB.stamp, "r2");
    code.load(4, "r1", GENERATION, FLOW.out).move("r2", 0).call(HELPER.redirect).exit();
    // Connection tracking shall see all that ends a connection, to the last answer.
    code.label(ending);
    forget(code, maps, "go on");
    ifFlags(code, format, TCP.fin | TCP.syn, "go on");
    loadGeneration(code, maps);
    code.store(4, CONTEXT, SKB.stamp, GENERATION).jump("go on");
  });
  return code.label("go on").move("r0", GO_ON).exit().finish();
}

/** Learns of a packet that came the long way how the next ones of its flow are sent. */
export function learningProgram(maps: FastPathMaps, types: TrackingTypes): Uint8Array {
  const code = begin().load(4, "r2", CONTEXT, SKB.stamp).jumpIf("r2", "==", 0, "go on");
  loadGeneration(code, maps);
  code.jumpIf("r2", "!=", GENERATION, "go on");
  code.load(4, "r2", CONTEXT, SKB.ingressIfindex).jumpIf("r2", "==", 0, "go on");
  forEachFormat(code, SKB.ingressIfindex, (format) => {
    const reset = `reset ${format.bytes}`;
    ifFlags(code, format, TCP.rst, reset);
    ifFlags(code, format, TCP.fin | TCP.syn, "go on");
    code.call(HELPER.clock).store(8, "r10", NOW, "r0");
    lookUp(code, maps);
    const unknown = `unknown ${format.bytes}`;
    code.jumpIf("r0", "==", 0, unknown);
    code.load(4, "r2", "r0", FLOW.generation).jumpIf("r2", "!=", GENERATION, unknown);
    code.load(8, "r2", "r0", FLOW.until).load(8, "r3", "r10", NOW).jumpIf("r3", "<=", "r2", "go on");
    code.label(unknown);
    lookUpTracked(code, format, types);
    const keep = `keep ${format.bytes}`;
    const none = `none ${format.bytes}`;
    code.jumpIf("r0", "==", 0, none);
    // The generation's register is free for a while.
    code.load(8, GENERATION, "r0", types.status).load(1, "r2", "r0", types.tcpState).store(8, "r10", VALUE, "r2");
    code.move("r1", "r0").callKernel(types.release);
    code.jumpIf(GENERATION, "&", UNFIT, none);
    code.load(8, "r2", "r10", VALUE).jumpIf("r2", "!=", ESTABLISHED, "go on");
    code.move("r2", GENERATION).compute("r2", "&", STATUS.assured | STATUS.seenReply);
    code.jumpIf("r2", "!=", STATUS.assured | STATUS.seenReply, "go on");
    code.load(4, "r2", CONTEXT, SKB.ifindex).load(8, "r3", "r10", NOW).compute("r3", "+", PERIOD).jump(keep);
    code.label(none).move("r2", 0).load(8, "r3", "r10", NOW).compute("r3", "+", PERIOD_OF_NONE);
    code
      .label(keep)
      .store(4, "r10", VALUE + FLOW.out, "r2")
      .store(8, "r10", VALUE + FLOW.until, "r3");
    // The one that the packet was stamped with, and not one that came meanwhile.
    code.load(4, "r2", CONTEXT, SKB.stamp).store(4, "r10", VALUE + FLOW.generation, "r2");
    copy(code, VALUE + FLOW.macs, DATA, 0, 12);
    code.store(4, "r10", VALUE + FLOW.macs + 12, 0);
    code.loadMap("r1", maps.flows).move("r2", "r10").compute("r2", "+", KEY).move("r3", "r10").compute("r3", "+", VALUE);
    code.move("r4", 0).call(HELPER.mapUpdate).jump("go on");
    code.label(reset);
    endTracked(code, format, types);
    code.jump("go on");
  });
  return code.label("go on").move("r0", GO_ON).exit().finish();
}

/** Asks for the tracked connection of the key, into r0; it must be released. */
function lookUpTracked(code: BpfAssembler, format: Format, { lookup }: TrackingTypes): void {
  copy(code, TUPLE, "r10", KEY_FIELDS.source, format.bytes);
  copy(code, TUPLE + format.bytes, "r10", KEY_FIELDS.destination, format.bytes);
  copy(code, TUPLE + 2 * format.bytes, "r10", KEY_FIELDS.ports, 4);
  code
    .store(4, "r10", OPTIONS, -1)
    .store(4, "r10", OPTIONS + 4, 0)
    .store(4, "r10", OPTIONS + 8, TCP.protocol);
  code.move("r1", CONTEXT).move("r2", "r10").compute("r2", "+", TUPLE).move("r3", format.tuple);
  code.move("r4", "r10").compute("r4", "+", OPTIONS).move("r5", OPTIONS_BYTES).callKernel(lookup);
}

/**
 * After a reset of a flow that was known. Connection tracking did not see the packets before it and takes its number for a wrong one, so the
 * connection stays established, and is remembered for ten seconds before Linux 7, for five minutes since. If the receiver does not
 * believe it either, its next packets have it remembered as before.
 */
function endTracked(code: BpfAssembler, format: Format, types: TrackingTypes): void {
  if (!types.changeTimeout) return;
  const connection = "r9";
  const release = `release ${format.bytes}`;
  lookUpTracked(code, format, types);
  code.jumpIf("r0", "==", 0, "go on").move(connection, "r0");
  code.load(1, "r2", connection, types.tcpState).jumpIf("r2", "!=", ESTABLISHED, release);
  code.move("r1", connection).move("r2", RESET_MS).callKernel(types.changeTimeout);
  code.label(release).move("r1", connection).callKernel(types.release);
}
