// Addresses of one range (a node's podCIDR of one family): first those that were never used, in order; then those that
// were freed, the longest rested first. So the address of a pod that has just gone is the last to be given out again.
import {
  addressAt,
  type Family,
  formatAddress,
  type IpPrefix,
  networkOf,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixSize,
} from "../base/index.ts";
import { RangeFullError } from "./errors.ts";

/** An IPv6 range is used up to this many addresses: no node has more pods. */
const MAX_TRACKED = 1 << 20;

export class AddressRange {
  readonly cidr: string;
  readonly family: Family;
  readonly #network: IpPrefix;
  readonly #first: number;
  readonly #last: number;
  readonly #used = new Set<number>();
  /** Freed since this process began, in order of their release. */
  readonly #rested = new Set<number>();
  /** Where the search for one that was not yet used goes on; so many of them are still to be looked at. */
  #next: number;
  #unseen: number;

  constructor(cidr: string) {
    this.#network = networkOf(parsePrefix(cidr));
    this.cidr = cidr;
    this.family = this.#network.family;
    const size = prefixSize(this.#network);
    const tracked = Number(size > BigInt(MAX_TRACKED) ? BigInt(MAX_TRACKED) : size);
    // .0 is the network (and the tunnel's address), .1 the gateway; in IPv4 the last is the broadcast address.
    this.#first = 2;
    this.#last = this.family === 4 ? Number(size) - 2 : tracked - 1;
    this.#next = this.#first;
    this.#unseen = this.size;
  }

  get size(): number {
    return Math.max(0, this.#last - this.#first + 1);
  }

  get used(): number {
    return this.#used.size;
  }

  get gateway(): string {
    return formatAddress(addressAt(this.#network, 1n));
  }

  get prefixLength(): number {
    return this.#network.length;
  }

  contains(address: string): boolean {
    return prefixContains(this.#network, parseAddress(address));
  }

  /** Takes an address that is known to be in use; false if it lies outside or is taken. */
  claim(address: string): boolean {
    const index = this.#indexOf(address);
    if (index === undefined || this.#used.has(index)) return false;
    this.#used.add(index);
    this.#rested.delete(index);
    // Go on behind what was given out last, so that a restart does not reuse the freshest address.
    this.#next = this.#after(index);
    this.#unseen = this.size;
    return true;
  }

  /** The next free address. @throws RangeFullError */
  take(): string {
    if (this.used >= this.size) throw new RangeFullError(this.cidr, this.used);
    const index = this.#unused() ?? this.#longestRested();
    this.#used.add(index);
    return formatAddress(addressAt(this.#network, BigInt(index)));
  }

  release(address: string): void {
    const index = this.#indexOf(address);
    if (index !== undefined && this.#used.delete(index)) this.#rested.add(index);
  }

  #unused(): number | undefined {
    while (this.#unseen > 0) {
      const index = this.#next;
      this.#next = this.#after(index);
      this.#unseen--;
      if (!this.#used.has(index) && !this.#rested.has(index)) return index;
    }
    return undefined;
  }

  #longestRested(): number {
    const [index] = this.#rested;
    if (index === undefined) throw new RangeFullError(this.cidr, this.used);
    this.#rested.delete(index);
    return index;
  }

  #after(index: number): number {
    return index >= this.#last ? this.#first : index + 1;
  }

  #indexOf(address: string): number | undefined {
    const parsed = parseAddress(address);
    if (!prefixContains(this.#network, parsed)) return undefined;
    const offset = parsed.value - this.#network.value;
    return offset >= BigInt(this.#first) && offset <= BigInt(this.#last) ? Number(offset) : undefined;
  }
}
