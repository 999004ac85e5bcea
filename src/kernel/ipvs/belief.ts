// What the reconciler believes of IPVS and its sets: the last reading plus its own writes.
import type { IpvsChange, NetworkNamespace } from "../kernel.ts";
import { ipvsKey } from "../netlink/ipvs.ts";
import type { IpSet, IpvsDestination, IpvsService } from "../state.ts";
import type { ChangeStep } from "../steps.ts";
import { destinationKey, nodePortProtocol } from "./lingering.ts";

/** A set whose elements change one by one. */
interface HeldSet {
  readonly head: Omit<IpSet, "elements">;
  readonly elements: Set<string>;
}

export class IpvsBelief {
  #services = new Map<string, IpvsService>();
  /** Keys of services with an end point of weight 0: one that is to end, or is kept idle. */
  readonly #resting = new Set<string>();
  #sets = new Map<string, HeldSet>();

  /** Number of services, whoever's. */
  get size(): number {
    return this.#services.size;
  }

  readServices(from: NetworkNamespace): void {
    this.#takeIn(readAll(from));
  }

  readSets(from: NetworkNamespace, wanted: (name: string) => boolean): void {
    this.#sets = new Map(
      from.ipsets.list(wanted).map(({ elements, ...head }) => [head.name, { head, elements: new Set(elements) }] as const),
    );
  }

  /** Reads these services again, for their connections. */
  recount(services: Iterable<IpvsService>, from: NetworkNamespace): void {
    for (const service of services) {
      const key = ipvsKey(service);
      this.#put(key, from.ipvs.read(service));
    }
  }

  /** Whether IPVS is otherwise than believed, or something that was to end has ended. Takes in the counters of connections. */
  moved(from: NetworkNamespace): boolean {
    const listed = readAll(from);
    const moved =
      listed.size !== this.#services.size ||
      [...listed].some(([key, service]) => {
        const known = this.#services.get(key);
        return known === undefined || !sameService(known, service) || service.destinations.some(hasEnded);
      });
    this.#takeIn(listed);
    return moved;
  }

  services(): IpvsService[] {
    return [...this.#services.values()];
  }

  service(key: string): IpvsService | undefined {
    return this.#services.get(key);
  }

  /** Services with an end point of weight 0. */
  resting(): IpvsService[] {
    return [...this.#resting].flatMap((key) => this.#services.get(key) ?? []);
  }

  sets(): IpSet[] {
    return [...this.#sets.values()].map(asSet);
  }

  set(name: string): IpSet | undefined {
    const held = this.#sets.get(name);
    return held && asSet(held);
  }

  /** The set with those of the elements that it holds. */
  setWith(name: string, elements: Iterable<string>): IpSet | undefined {
    const held = this.#sets.get(name);
    return held && { ...held.head, elements: [...elements].filter((element) => held.elements.has(element)) };
  }

  /** Whether a service's port is in a set of node ports. */
  hasPort({ address, protocol, port }: IpvsService): boolean {
    for (const [name, { elements }] of this.#sets)
      if (nodePortProtocol(name) === protocol && (elements.has(String(port)) || elements.has(`${address},${protocol}:${port}`)))
        return true;
    return false;
  }

  take(step: Extract<ChangeStep, { readonly kind: "ipset" | "ipvs" }>): void {
    if (step.kind === "ipvs") this.#takeChange(step.object, step.change);
    else if (step.op === "delete") this.#sets.delete(step.object);
    else {
      const { elements: _elements, ...head } = step.set;
      const { elements } = this.#sets.get(step.object) ?? { elements: new Set<string>() };
      for (const element of step.delete ?? []) elements.delete(element);
      for (const element of step.add ?? []) elements.add(element);
      this.#sets.set(step.object, { head, elements });
    }
  }

  #takeChange(key: string, change: IpvsChange): void {
    const known = this.#services.get(key);
    if ("destination" in change) {
      const { destination, op } = change;
      if (!known) return;
      const name = destinationKey(destination);
      const others = known.destinations.filter((other) => destinationKey(other) !== name);
      const before = known.destinations.find((other) => destinationKey(other) === name);
      this.#put(key, { ...known, destinations: op === "delete" ? others : [...others, { ...before, ...destination }] });
    } else this.#put(key, change.op === "delete" ? undefined : { ...change.service, destinations: known?.destinations ?? [] });
  }

  #takeIn(services: Map<string, IpvsService>): void {
    this.#services = services;
    this.#resting.clear();
    for (const [key, service] of services) if (rests(service)) this.#resting.add(key);
  }

  #put(key: string, service: IpvsService | undefined): void {
    if (service) this.#services.set(key, service);
    else this.#services.delete(key);
    if (service && rests(service)) this.#resting.add(key);
    else this.#resting.delete(key);
  }
}

function readAll(from: NetworkNamespace): Map<string, IpvsService> {
  return new Map(from.ipvs.list().map((service) => [ipvsKey(service), service]));
}

function asSet({ head, elements }: HeldSet): IpSet {
  return { ...head, elements: [...elements] };
}

function rests({ destinations }: IpvsService): boolean {
  return destinations.some(({ weight }) => weight === 0);
}

/** Equal but for what the kernel counts, and for the order of end points. */
function sameService(a: IpvsService, b: IpvsService): boolean {
  if (a.scheduler !== b.scheduler || a.persistence !== b.persistence || a.destinations.length !== b.destinations.length) return false;
  return a.destinations.every((one, at) => sameDestination(one, b.destinations[at])) || weightsOf(a) === weightsOf(b);
}

function sameDestination(a: IpvsDestination, b: IpvsDestination | undefined): boolean {
  return a.address === b?.address && a.port === b.port && a.weight === b.weight;
}

function weightsOf({ destinations }: IpvsService): string {
  return destinations
    .map((destination) => `${destinationKey(destination)} ${destination.weight}`)
    .sort()
    .join();
}

function hasEnded({ weight, active = 0, inactive = 0 }: IpvsDestination): boolean {
  return weight === 0 && active + inactive === 0;
}
