// What names are answered from: Services with their EndpointSlices, namespaces and pods, kept up to date change by change.
//
//   source ─ changes ─▶ Directory: ns/name → entry, address → entries, address → pods
//
// It holds every object that the source has; which of them a server block shows is decided when it is asked. So one
// directory serves every block, and every configuration after a reload.
import { formatAddress, tryParseAddress } from "../../../base/index.ts";
import type { ClusterSource, ObjectChange } from "../../../cluster/index.ts";
import type { EndpointSlice, KubeObject, Namespace, Pod, Service } from "../../../resources/index.ts";

/** A Service with the slices that name it. It is there while either is. */
export interface Entry {
  readonly namespace: string;
  readonly name: string;
  service: Service | undefined;
  slices: readonly EndpointSlice[];
}

export class Directory {
  readonly namespaces = new Map<string, Namespace>();
  readonly #entries = new Map<string, Entry>();
  readonly #slices = new Map<string, EndpointSlice>();
  readonly #pods = new Map<string, Pod>();
  readonly #byAddress = new Index<Entry>();
  readonly #podsByAddress = new Index<Pod>();
  readonly #listeners = new Set<() => void>();
  readonly #now: () => number;
  /** Seconds since 1970 of the last change: the zones' serial number. */
  serial: number;

  /** `now`: milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.serial = Math.floor(now() / 1000);
  }

  entry(namespace: string, name: string): Entry | undefined {
    return this.#entries.get(`${namespace}/${name}`);
  }

  /** Those that have the address: as a cluster address or as an end point's. */
  byAddress(address: string): readonly Entry[] {
    return this.#byAddress.get(address);
  }

  /** Pods that have the address, those of the host's network too. */
  podsByAddress(address: string): readonly Pod[] {
    return this.#podsByAddress.get(address);
  }

  get size(): { readonly services: number; readonly slices: number; readonly pods: number } {
    return { services: this.#entries.size, slices: this.#slices.size, pods: this.#pods.size };
  }

  /** Calls back after changes; gives the way to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  apply(changes: readonly ObjectChange[]): void {
    let relevant = false;
    for (const { type, object } of changes) relevant = this.#applyOne(object, type === "DELETED") || relevant;
    if (!relevant) return;
    this.serial = Math.floor(this.#now() / 1000);
    for (const listener of this.#listeners) listener();
  }

  #applyOne(object: KubeObject, gone: boolean): boolean {
    const key = `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
    switch (object.kind) {
      case "Namespace":
        if (gone) this.namespaces.delete(object.metadata.name);
        else this.namespaces.set(object.metadata.name, object as Namespace);
        return true;
      case "Service":
        if (object.apiVersion !== "v1") return false;
        this.#change(key, (entry) => {
          entry.service = gone ? undefined : (object as Service);
        });
        return true;
      case "EndpointSlice":
        this.#changeSlice(key, object as EndpointSlice, gone);
        return true;
      case "Pod":
        return this.#changePod(key, object as Pod, gone);
      default:
        return false;
    }
  }

  #changeSlice(key: string, slice: EndpointSlice, gone: boolean): void {
    const before = this.#slices.get(key);
    if (gone) this.#slices.delete(key);
    else this.#slices.set(key, slice);
    const owner = gone ? undefined : ownerOf(slice);
    const previous = before === undefined ? undefined : ownerOf(before);
    if (previous !== undefined && previous !== owner)
      this.#change(previous, (entry) => {
        entry.slices = entry.slices.filter((each) => each !== before);
      });
    if (owner !== undefined)
      this.#change(owner, (entry) => {
        const others = entry.slices.filter((each) => each !== before);
        entry.slices = [...others, slice].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
      });
  }

  /** Changes one entry and the addresses that lead to it. */
  #change(key: string, change: (entry: Entry) => void): void {
    const slash = key.indexOf("/");
    const entry = this.#entries.get(key) ?? { namespace: key.slice(0, slash), name: key.slice(slash + 1), service: undefined, slices: [] };
    const before = addressesOf(entry);
    change(entry);
    const after = addressesOf(entry);
    for (const address of before) if (!after.has(address)) this.#byAddress.remove(address, entry);
    for (const address of after) if (!before.has(address)) this.#byAddress.add(address, entry);
    if (entry.service || entry.slices.length > 0) this.#entries.set(key, entry);
    else this.#entries.delete(key);
  }

  #changePod(key: string, pod: Pod, gone: boolean): boolean {
    const before = this.#pods.get(key);
    const away =
      gone || pod.metadata.deletionTimestamp !== undefined || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
    for (const address of before ? podAddresses(before) : []) this.#podsByAddress.remove(address, before as Pod);
    if (away) this.#pods.delete(key);
    else {
      this.#pods.set(key, pod);
      for (const address of podAddresses(pod)) this.#podsByAddress.add(address, pod);
    }
    // Most changes of pods are of conditions, which no name shows.
    return before === undefined ? !away : away || podAddresses(before).join() !== podAddresses(pod).join();
  }
}

function ownerOf(slice: EndpointSlice): string | undefined {
  const service = slice.metadata.labels?.["kubernetes.io/service-name"];
  return service === undefined || slice.addressType === "FQDN" ? undefined : `${slice.metadata.namespace ?? ""}/${service}`;
}

/** The Service's own addresses; none where it is headless or has none yet. */
export function clusterAddresses(service: Service | undefined): readonly string[] {
  const addresses = service?.spec.clusterIPs ?? (service?.spec.clusterIP ? [service.spec.clusterIP] : []);
  return addresses[0] === "None" || addresses[0] === "" ? [] : addresses;
}

function addressesOf(entry: Entry): Set<string> {
  const addresses = new Set(clusterAddresses(entry.service).map(canonical));
  for (const slice of entry.slices)
    for (const endpoint of slice.endpoints ?? []) for (const address of endpoint.addresses) addresses.add(canonical(address));
  return addresses;
}

function podAddresses(pod: Pod): readonly string[] {
  const { podIPs, podIP } = (pod.status ?? {}) as { readonly podIPs?: readonly { readonly ip: string }[]; readonly podIP?: string };
  return (podIPs?.map(({ ip }) => ip) ?? (podIP ? [podIP] : [])).map(canonical);
}

/** IPv6 addresses have many spellings, and a question about one has only its bits. */
function canonical(address: string): string {
  const parsed = address.includes(":") ? tryParseAddress(address) : undefined;
  return parsed ? formatAddress(parsed) : address;
}

/** Key → values; a single value, the usual case, costs no list. */
class Index<V extends object> {
  readonly #map = new Map<string, V | V[]>();

  get(key: string): readonly V[] {
    const found = this.#map.get(key);
    return found === undefined ? [] : Array.isArray(found) ? found : [found];
  }

  add(key: string, value: V): void {
    const found = this.#map.get(key);
    if (found === undefined) this.#map.set(key, value);
    else if (Array.isArray(found)) found.push(value);
    else if (found !== value) this.#map.set(key, [found, value]);
  }

  remove(key: string, value: V): void {
    const found = this.#map.get(key);
    if (found === value) this.#map.delete(key);
    else if (Array.isArray(found)) {
      const rest = found.filter((each) => each !== value);
      const [only] = rest;
      if (rest.length > 1) this.#map.set(key, rest);
      else if (only) this.#map.set(key, only);
      else this.#map.delete(key);
    }
  }
}

const shared = new WeakMap<ClusterSource, { readonly directory: Directory; users: number; stop(): void }>();

/** The directory of a source, the same for all that ask; `release` when it is no longer needed. */
export function directoryOf(source: ClusterSource): { readonly directory: Directory; release(): void } {
  let entry = shared.get(source);
  if (!entry) {
    const directory = new Directory();
    const made = { directory, users: 0, stop: () => {} };
    made.stop = source.follow((changes) => directory.apply(changes));
    entry = made;
    shared.set(source, made);
  }
  const held = entry;
  held.users++;
  let released = false;
  const release = () => {
    if (released) return;
    released = true;
    held.users--;
    if (held.users > 0) return;
    held.stop();
    shared.delete(source);
  };
  return { directory: held.directory, release };
}
