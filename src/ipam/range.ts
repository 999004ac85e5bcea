// Addresses of one range (a node's podCIDR of one family): a bitmap, given out in turn so that one that was freed rests longest.
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
  readonly #used: Uint8Array;
  readonly #first: number;
  readonly #last: number;
  #next: number;
  #count = 0;

  constructor(cidr: string) {
    this.#network = networkOf(parsePrefix(cidr));
    this.cidr = cidr;
    this.family = this.#network.family;
    const size = prefixSize(this.#network);
    const tracked = Number(size > BigInt(MAX_TRACKED) ? BigInt(MAX_TRACKED) : size);
    this.#used = new Uint8Array(tracked);
    // .0 is the network (and the tunnel's address), .1 the gateway; in IPv4 the last is the broadcast address.
    this.#first = 2;
    this.#last = this.family === 4 ? tracked - 2 : tracked - 1;
    this.#next = this.#first;
  }

  get size(): number {
    return Math.max(0, this.#last - this.#first + 1);
  }

  get used(): number {
    return this.#count;
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
    if (index === undefined || this.#used[index]) return false;
    this.#used[index] = 1;
    this.#count++;
    // Go on behind what was given out last, so that a restart does not reuse the freshest address.
    this.#next = index >= this.#last ? this.#first : index + 1;
    return true;
  }

  /** The next free address. @throws RangeFullError */
  take(): string {
    if (this.#count >= this.size) throw new RangeFullError(this.cidr, this.#count);
    let index = this.#next;
    while (this.#used[index]) index = index >= this.#last ? this.#first : index + 1;
    this.#used[index] = 1;
    this.#count++;
    this.#next = index >= this.#last ? this.#first : index + 1;
    return formatAddress(addressAt(this.#network, BigInt(index)));
  }

  release(address: string): void {
    const index = this.#indexOf(address);
    if (index === undefined || !this.#used[index]) return;
    this.#used[index] = 0;
    this.#count--;
  }

  #indexOf(address: string): number | undefined {
    const parsed = parseAddress(address);
    if (!prefixContains(this.#network, parsed)) return undefined;
    const offset = parsed.value - this.#network.value;
    return offset >= BigInt(this.#first) && offset <= BigInt(this.#last) ? Number(offset) : undefined;
  }
}
