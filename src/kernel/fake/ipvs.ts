// IPVS in memory.
import type { Ipvs, IpvsChange } from "../kernel.ts";
import { ipvsKey } from "../netlink/ipvs.ts";
import type { IpvsDestination, IpvsService, IpvsServiceKey } from "../state.ts";
import { refuse } from "./refuse.ts";

const SCHEDULERS = new Set(["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh"]);

export class FakeIpvs implements Ipvs {
  readonly #services = new Map<string, { readonly service: IpvsService; readonly destinations: Map<string, IpvsDestination> }>();

  lack(): undefined {
    return undefined;
  }

  list(): IpvsService[] {
    return [...this.#services.values()].map(({ service, destinations }) => ({ ...service, destinations: [...destinations.values()] }));
  }

  read(service: IpvsServiceKey): IpvsService | undefined {
    const found = this.#services.get(ipvsKey(service));
    return found && { ...found.service, destinations: [...found.destinations.values()] };
  }

  apply(change: IpvsChange): void {
    if ("destination" in change) this.#destination(change.op, change.service, change.destination);
    else this.#service(change.op, change.service);
  }

  /** For tests: so many connections are open to a destination. */
  connect(service: IpvsServiceKey, destination: Pick<IpvsDestination, "address" | "port">, active: number, inactive = 0): void {
    const found = this.#services.get(ipvsKey(service))?.destinations;
    const known = found?.get(keyOf(destination)) ?? refuse("ENOENT", "no such destination", keyOf(destination));
    found?.set(keyOf(destination), { ...known, active, inactive });
  }

  #service(op: IpvsChange["op"], service: IpvsService): void {
    const key = ipvsKey(service);
    const found = this.#services.get(key);
    if (op === "add" && found) refuse("EEXIST", "the service exists", key);
    if (op !== "add" && !found) refuse("ESRCH", "no such service", key);
    if (op === "delete") {
      this.#services.delete(key);
      return;
    }
    if (!SCHEDULERS.has(service.scheduler)) refuse("ENOENT", `no scheduler ${service.scheduler}`, key);
    const { destinations: _destinations, ...kept } = service;
    this.#services.set(key, { service: { ...kept, destinations: [] }, destinations: found?.destinations ?? new Map() });
  }

  #destination(op: IpvsChange["op"], service: IpvsServiceKey, destination: IpvsDestination): void {
    const found = this.#services.get(ipvsKey(service)) ?? refuse("ESRCH", "no such service", ipvsKey(service));
    const key = keyOf(destination);
    const known = found.destinations.get(key);
    if (op === "add" && known) refuse("EEXIST", "the destination exists", key);
    if (op !== "add" && !known) refuse("ENOENT", "no such destination", key);
    if (op === "delete") found.destinations.delete(key);
    else {
      const { address, port, weight } = destination;
      found.destinations.set(key, { address, port, weight, active: known?.active ?? 0, inactive: known?.inactive ?? 0 });
    }
  }
}

const keyOf = ({ address, port }: Pick<IpvsDestination, "address" | "port">) => `${address}:${port}`;
