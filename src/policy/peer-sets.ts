// The nft sets that rules refer to: addresses of end points, blocks, named ports, Services' end points, kinds of ends.
import { createHash } from "node:crypto";
import { type Family, familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NftElement, NftSet, NftType } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { endPoints } from "./end-points.ts";
import { nodesByAddress, podAddresses } from "./ends.ts";
import { blockElements } from "./intervals.ts";
import { namespaceLabels } from "./label-view.ts";
import { neededLabels, testLabels } from "./labels.ts";
import { namedPorts, WITH_PORTS } from "./match.ts";
import { compareText } from "./policy-index.ts";
import type { CidrPeer, EndPeer, EntityPeer, NameBook, Peer, Selection, ServicePeer } from "./rules.ts";
import { kindsOf, selectionKey, selects, selectsEnd } from "./selection.ts";
import { serviceEnds } from "./service-ends.ts";

/** A look-up that tells whether an end is one of those meant: by its address, or by address, protocol and port. */
export type PeerLookup = { readonly set: string; readonly by: "address" | "port"; readonly not?: true } | "always";

interface Member {
  readonly pod: Pod;
  readonly addresses: readonly string[];
}

const PROTOCOL_NAMES: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp", 136: "udplite" };

/** Collects the sets while the rules are written; selections written alike share one set. */
export class PeerSets {
  readonly families: readonly Family[];
  readonly #snapshot: ClusterSnapshot;
  readonly #node: string;
  readonly #names: NameBook;
  /** Addresses known on the node before the API has them, by "namespace/name". */
  readonly #wired = new Map<string, string[]>();
  readonly #members = new Map<string, Member[]>();
  readonly #sets = new Map<string, NftSet>();

  constructor(
    snapshot: ClusterSnapshot,
    families: readonly Family[],
    local: {
      readonly node: string;
      readonly pods: readonly { readonly namespace: string; readonly name: string; readonly address: string }[];
      readonly names: NameBook;
    },
  ) {
    this.#snapshot = snapshot;
    this.#node = local.node;
    this.#names = local.names;
    this.families = families;
    for (const { namespace, name, address } of local.pods) {
      const key = `${namespace}/${name}`;
      const list = this.#wired.get(key);
      if (list) list.push(address);
      else this.#wired.set(key, [address]);
    }
  }

  build(): NftSet[] {
    return [...this.#sets.values()].sort((a, b) => compareText(a.name, b.name));
  }

  /** The look-ups of which one holds for whoever one of the peers holds; none where nobody of the family is meant. */
  lookups(peers: readonly Peer[], family: Family): PeerLookup[] {
    const found: PeerLookup[] = [];
    const blocks = peers.filter((peer): peer is CidrPeer => peer.kind === "cidr");
    for (const peer of peers) if (peer.kind !== "cidr") found.push(...this.#lookup(peer, family));
    found.push(...this.#blocks("block", blocks, family));
    const unique = new Map(found.map((lookup) => [JSON.stringify(lookup), lookup]));
    return [...unique.values()];
  }

  #lookup(peer: Exclude<Peer, CidrPeer>, family: Family): PeerLookup[] {
    switch (peer.kind) {
      case "ends":
        return this.#ends(peer, family);
      case "service":
        return [this.#service(peer, family)];
      case "names":
        return [this.#addresses("name", peer.patterns.toSorted().join(), family, () => this.#named(peer.patterns, family))];
      case "entity":
        return [this.#entity(peer.entity, family)];
    }
  }

  #ends(peer: EndPeer, family: Family): PeerLookup[] {
    const kinds = kindsOf(peer);
    const found: PeerLookup[] = [];
    if (kinds.includes("pod"))
      found.push(
        this.#addresses("peer", selectionKey(peer), family, () =>
          this.#select(peer).flatMap(({ pod, addresses }) => addresses.map((address) => ({ key: [address], owner: podOwner(pod) }))),
        ),
      );
    if (kinds.every((kind) => kind === "pod")) return found;
    const blocks = endPoints(this.#snapshot)
      .ofKinds(kinds)
      .filter((end) => selectsEnd(this.#snapshot, peer, end))
      .flatMap((end) => end.blocks.map((cidr): CidrPeer => ({ kind: "cidr", cidr, except: [] })));
    // Named by who is meant, not by the blocks: one more of them is an element more.
    return [...found, ...this.#blocks("range", blocks, family, selectionKey(peer))];
  }

  #blocks(prefix: string, blocks: readonly CidrPeer[], family: Family, key?: string): PeerLookup[] {
    const elements = blockElements(blocks, family);
    if (elements.length === 0) return [];
    const set = this.#set(
      `${prefix}${family}`,
      key ?? elements.join(),
      [addressType(family)],
      () => elements.map((each) => ({ key: [each] })),
      "interval",
    );
    return [{ set, by: "address" }];
  }

  #service(peer: ServicePeer, family: Family): PeerLookup {
    const key = JSON.stringify([peer.namespace ?? null, peer.name ?? null, peer.labels?.test ?? null]);
    const ends = () => serviceEnds(this.#snapshot, peer).filter(({ address }) => familyOf(address) === family);
    if (!peer.ports) return this.#addresses("service", key, family, () => ends().map(({ address, owner }) => ({ key: [address], owner })));
    const elements = () =>
      ends().map(({ address, protocol, port, owner }) => ({
        key: [address, PROTOCOL_NAMES[protocol] ?? String(protocol), String(port)],
        owner,
      }));
    return { set: this.#set(`service${family}`, `${key} ports`, portKey(family), elements), by: "port" };
  }

  #named(patterns: readonly string[], family: Family): NftElement[] {
    return patterns
      .flatMap((pattern) => this.#names.addressesOf(pattern))
      .filter((address) => familyOf(address) === family)
      .map((address) => ({ key: [address] }));
  }

  #entity(entity: EntityPeer["entity"], family: Family): PeerLookup {
    if (entity === "all") return "always";
    if (entity === "kube-apiserver")
      return this.#service({ kind: "service", namespace: "default", name: "kubernetes", ports: false }, family);
    const nodes = [...nodesByAddress(this.#snapshot.nodes)].filter(([address]) => familyOf(address) === family);
    const nodeElements = (which: (node: string) => boolean): NftElement[] =>
      nodes.flatMap(([address, name]) => (which(name) ? [{ key: [address], owner: { kind: "Node", name } }] : []));
    if (entity === "host") return this.#addresses("entity", "host", family, () => nodeElements((name) => name === this.#node));
    if (entity === "remote-node")
      return this.#addresses("entity", "remote-node", family, () => nodeElements((name) => name !== this.#node));
    const lookup = this.#addresses("entity", "cluster", family, () => [
      ...nodeElements(() => true),
      ...[...this.#snapshot.pods.values()].flatMap((pod) =>
        this.#member(pod).flatMap(({ addresses }) => addresses.map((address) => ({ key: [address], owner: podOwner(pod) }))),
      ),
    ]);
    return entity === "world" && lookup !== "always" ? { ...lookup, not: true } : lookup;
  }

  #addresses(prefix: string, key: string, family: Family, elements: () => NftElement[]): PeerLookup {
    const own = () => elements().filter(({ key: [address] }) => familyOf(address ?? "") === family);
    return { set: this.#set(`${prefix}${family}`, key, [addressType(family)], own), by: "address" };
  }

  /** Name of the set of (address, protocol, port) where pods of the selections have the named ports. "any": every pod of the cluster. Without a protocol: of each. */
  ports(
    selections: readonly Selection[] | "any",
    names: readonly { readonly protocol: number | undefined; readonly name: string }[],
    family: Family,
  ): string {
    const who = selections === "any" ? "any" : selections.map(selectionKey).sort().join();
    const wanted = names.flatMap(({ protocol, name }) =>
      (protocol === undefined ? WITH_PORTS : [protocol]).map((each) => ({ protocol: each, name })),
    );
    const what = wanted
      .map(({ protocol, name }) => `${PROTOCOL_NAMES[protocol] ?? protocol}/${name}`)
      .sort()
      .join();
    return this.#set(`ports${family}`, `${who} ${what}`, portKey(family), () => {
      const members =
        selections === "any"
          ? [...this.#snapshot.pods.values()].flatMap((pod) => this.#member(pod))
          : selections.flatMap((each) => this.#select(each));
      const elements: NftElement[] = [];
      for (const { pod, addresses } of members) {
        const open = wanted.flatMap(({ protocol, name }) =>
          namedPorts(pod, protocol, name).map((port) => [PROTOCOL_NAMES[protocol] ?? String(protocol), String(port)]),
        );
        for (const address of addresses.filter((each) => familyOf(each) === family))
          for (const part of open) elements.push({ key: [address, ...part], owner: podOwner(pod) });
      }
      return elements;
    });
  }

  #set(prefix: string, key: string, type: readonly NftType[], elements: () => NftElement[], flag?: "interval"): string {
    const name = `${prefix}-${hashOf(key)}`;
    if (!this.#sets.has(name)) {
      const unique = new Map(elements().map((element) => [element.key.join(" "), element]));
      this.#sets.set(name, { name, key: type, ...(flag ? { flags: [flag] } : {}), elements: [...unique.values()] });
    }
    return name;
  }

  #select(selection: Selection): Member[] {
    const key = selectionKey(selection);
    const known = this.#members.get(key);
    if (known) return known;
    const members: Member[] = [];
    const needed = neededLabels(selection.labels.test);
    for (const namespace of this.#namespaces(selection))
      for (const pod of this.#candidates(namespace, needed))
        if (selects(this.#snapshot, selection, pod)) members.push(...this.#member(pod));
    this.#members.set(key, members);
    return members;
  }

  /** Pods of a namespace that have one of the labels, by the snapshot's index. */
  #candidates(namespace: string, needed: readonly string[] | undefined): Iterable<Pod> {
    if (!needed) return this.#snapshot.pods.inNamespace(namespace);
    const found = new Set<Pod>();
    for (const label of needed) {
      const cut = label.indexOf("=");
      for (const pod of this.#snapshot.pods.select(namespace, { matchLabels: { [label.slice(0, cut)]: label.slice(cut + 1) } }))
        found.add(pod);
    }
    return found;
  }

  #member(pod: Pod): Member[] {
    if (pod.spec.hostNetwork) return [];
    const wired = this.#wired.get(`${pod.metadata.namespace ?? "default"}/${pod.metadata.name}`) ?? [];
    const addresses = [...new Set([...podAddresses(pod), ...wired])];
    return addresses.length === 0 ? [] : [{ pod, addresses }];
  }

  #namespaces({ namespace, namespaceSelector, view }: Selection): string[] {
    if (namespaceSelector === undefined && namespace !== undefined) return [namespace];
    if (namespaceSelector === undefined) return namespacesWithPods(this.#snapshot);
    const names: string[] = [];
    for (const { metadata } of this.#snapshot.namespaces.values()) {
      if (namespace !== undefined && metadata.name !== namespace) continue;
      if (testLabels(namespaceSelector.test, namespaceLabels(this.#snapshot, metadata.name, view) ?? {})) names.push(metadata.name);
    }
    return names;
  }
}

const podNamespaces = new WeakMap<object, string[]>();

/** Also those whose own object is not there. */
function namespacesWithPods({ pods }: ClusterSnapshot): string[] {
  let names = podNamespaces.get(pods);
  if (!names) {
    names = [...new Set(Array.from(pods.values(), ({ metadata }) => metadata.namespace ?? "default"))];
    podNamespaces.set(pods, names);
  }
  return names;
}

/** Twelve hexadecimal digits that name a thing by its content. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

function portKey(family: Family): readonly NftType[] {
  return [addressType(family), "inet_proto", "inet_service"];
}

function addressType(family: Family): NftType {
  return family === 4 ? "ipv4_addr" : "ipv6_addr";
}

function podOwner(pod: Pod) {
  return { kind: "Pod", namespace: pod.metadata.namespace ?? "default", name: pod.metadata.name };
}
