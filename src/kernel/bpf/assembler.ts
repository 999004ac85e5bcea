// An assembler for BPF (RFC 9669): instructions by name, jumps by label.
import { KernelError } from "../errors.ts";

export type Register = "r0" | "r1" | "r2" | "r3" | "r4" | "r5" | "r6" | "r7" | "r8" | "r9" | "r10";
/** Of what is loaded or stored, in bytes. */
export type Width = 1 | 2 | 4 | 8;

const LOAD_IMMEDIATE = 0x18;
const EXIT = 0x95;
const CALL = 0x85;
const JUMP_ALWAYS = 0x05;
const [LOAD, STORE_IMMEDIATE, STORE] = [0x61, 0x62, 0x63];
const WIDTHS = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 } as const;
/** What makes an operation take a register, and not a number, for its second operand. */
const FROM_REGISTER = 0x08;
/** 64 bits wide; with 0x04 in place of 0x07: 32 bits, the upper half cleared. */
const ARITHMETIC = { "+": 0x07, "-": 0x17, "|": 0x47, "&": 0x57, "<<": 0x67, ">>": 0x77, "=": 0xb7 } as const;
const COMPARISONS = { "==": 0x15, ">": 0x25, ">=": 0x35, "&": 0x45, "!=": 0x55, "<": 0xa5, "<=": 0xb5 } as const;

/** What the source field says of a load of 64 bits (linux/bpf.h), and of a call. */
const MAP_BY_FD = 1;
const MAP_VALUE_BY_FD = 2;
const KERNEL_FUNCTION = 2;

export type Arithmetic = keyof typeof ARITHMETIC;
export type Comparison = keyof typeof COMPARISONS;

export interface KernelFunction {
  readonly id: number;
  readonly btf: number;
}

const BYTES = 8;
const numberOf = (register: Register): number => Number(register.slice(1));

/** Writes one program. Numbers are of 32 bits, and extended with their sign. */
export class BpfAssembler {
  readonly #instructions: Uint8Array[] = [];
  readonly #labels = new Map<string, number>();
  readonly #jumps: { readonly at: number; readonly to: string }[] = [];

  /** `into` = `into` operation `operand` */
  compute(into: Register, operation: Arithmetic, operand: Register | number): this {
    if (typeof operand === "number") return this.#put(ARITHMETIC[operation], into, undefined, 0, operand);
    return this.#put(ARITHMETIC[operation] | FROM_REGISTER, into, operand, 0, 0);
  }

  move(into: Register, from: Register | number): this {
    return this.compute(into, "=", from);
  }

  /** What lies `offset` bytes behind where `base` points. */
  load(width: Width, into: Register, base: Register, offset: number): this {
    return this.#put(LOAD | WIDTHS[width], into, base, offset, 0);
  }

  store(width: Width, base: Register, offset: number, from: Register | number): this {
    if (typeof from === "number") return this.#put(STORE_IMMEDIATE | WIDTHS[width], base, undefined, offset, from);
    return this.#put(STORE | WIDTHS[width], base, from, offset, 0);
  }

  /** On to the label where the comparison holds ("&": where both have a bit in common). */
  jumpIf(left: Register, comparison: Comparison, right: Register | number, label: string): this {
    this.#jumps.push({ at: this.#instructions.length, to: label });
    if (typeof right === "number") return this.#put(COMPARISONS[comparison], left, undefined, 0, right);
    return this.#put(COMPARISONS[comparison] | FROM_REGISTER, left, right, 0, 0);
  }

  jump(label: string): this {
    this.#jumps.push({ at: this.#instructions.length, to: label });
    return this.#put(JUMP_ALWAYS, "r0", undefined, 0, 0);
  }

  /** Where jumps to it go on. Jumps go forward only. */
  label(name: string): this {
    this.#labels.set(name, this.#instructions.length);
    return this;
  }

  /** A helper by its number (linux/bpf.h); arguments in r1 to r5, which it spoils, its answer in r0. */
  call(helper: number): this {
    return this.#put(CALL, "r0", undefined, 0, helper);
  }

  /** A function of the kernel, or of a module, by its number in the BTF; 0 for the kernel's own BTF, else the place in what the program is loaded with. */
  callKernel({ id, btf }: KernelFunction): this {
    return this.#put(CALL, "r0", `r${KERNEL_FUNCTION}`, btf, id);
  }

  loadMap(into: Register, map: number): this {
    return this.#loadWide(into, MAP_BY_FD, map, 0);
  }

  /** The address of what an array of one element holds. */
  loadMapValue(into: Register, map: number): this {
    return this.#loadWide(into, MAP_VALUE_BY_FD, map, 0);
  }

  exit(): this {
    return this.#put(EXIT, "r0", undefined, 0, 0);
  }

  /** The program, as bpf(2) takes it. @throws KernelError EINVAL where a jump has no label, or one behind it */
  finish(): Uint8Array {
    for (const { at, to } of this.#jumps) {
      const target = this.#labels.get(to) ?? -1;
      if (target <= at)
        throw new KernelError({ errno: "EINVAL", operation: "assemble a BPF program", says: `no label "${to}" behind instruction ${at}` });
      new DataView((this.#instructions[at] as Uint8Array).buffer).setInt16(2, target - at - 1, true);
    }
    const program = new Uint8Array(this.#instructions.length * BYTES);
    for (const [index, instruction] of this.#instructions.entries()) program.set(instruction, index * BYTES);
    return program;
  }

  #loadWide(into: Register, what: number, low: number, high: number): this {
    this.#put(LOAD_IMMEDIATE, into, `r${what}` as Register, 0, low);
    return this.#put(0, "r0", undefined, 0, high);
  }

  #put(operation: number, to: Register, from: Register | undefined, offset: number, immediate: number): this {
    const instruction = new Uint8Array(BYTES);
    const view = new DataView(instruction.buffer);
    view.setUint8(0, operation);
    view.setUint8(1, numberOf(to) | ((from === undefined ? 0 : numberOf(from)) << 4));
    view.setInt16(2, offset, true);
    view.setInt32(4, immediate | 0, true);
    this.#instructions.push(instruction);
    return this;
  }
}
