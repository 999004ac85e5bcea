// The nft sets that rules refer to: addresses of end points, blocks, named ports, Services' end points, kinds of ends.
import { createHash } from "node:crypto";
import { type Family, familyOf, transportName } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NftElement, NftSet, NftType } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { endPoints } from "./end-points.ts";
import { nodesByAddress, podAddresses } from "./ends.ts";
import { blockElements } from "./intervals.ts";
import { hostPorts, namedPorts, WITH_PORTS } from "./match.ts";
import { type NamedPort, type PeerLookup, type PeerLookups, textOf } from "./peer-lookups.ts";
import { addressElements, type ElementMaker, joinSet, podElements, podOwner } from "./pod-elements.ts";
import { compareText } from "./policy-index.ts";
import type { CidrPeer, EndPeer, EntityPeer, NameBook, Peer, Selection, ServicePeer } from "./rules.ts";
import { kindsOf, selectionKey, selects, selectsEnd } from "./selection.ts";
import { serviceEnds } from "./service-ends.ts";

const NONE: readonly PeerLookup[] = [];

/** Collects the sets while the rules are written; selections written alike share one set. */
export class PeerSets implements PeerLookups {
  readonly families: readonly Family[];
  readonly #snapshot: ClusterSnapshot;
  readonly #node: string;
  readonly #names: NameBook;
  /** Addresses that the node knows and the API does not (yet). */
  readonly #wired: { readonly pod: Pod; readonly address: string }[] = [];
  /** Pods ("namespace/name") that the API still gives an address that another pod of the node has by now, by that address. */
  readonly #former = new Map<string, string>();
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
      const pod = snapshot.pods.get(`${namespace}/${name}`);
      if (pod && !pod.spec.hostNetwork && !podAddresses(pod).includes(address)) this.#wired.push({ pod, address });
    }
    const holders = new Map(local.pods.map(({ namespace, name, address }) => [address, `${namespace}/${name}`]));
    for (const pod of snapshot.pods.onNode(local.node)) {
      const key = `${pod.metadata.namespace ?? "default"}/${pod.metadata.name}`;
      for (const address of podAddresses(pod)) if ((holders.get(address) ?? key) !== key) this.#former.set(address, key);
    }
  }

  build(): NftSet[] {
    return [...this.#sets.values()].sort((a, b) => compareText(a.name, b.name));
  }

  lookups(peers: readonly Peer[], family: Family): readonly PeerLookup[] {
    if (peers.length === 0) return NONE;
    const found: PeerLookup[] = [];
    const blocks = peers.filter((peer): peer is CidrPeer => peer.kind === "cidr");
    for (const peer of peers) if (peer.kind !== "cidr") found.push(...this.#lookup(peer, family));
    if (blocks.length > 0) found.push(...this.#blocks("block", blocks, family));
    if (found.length < 2) return found;
    return [...new Map(found.map((lookup) => [textOf([lookup]), lookup])).values()];
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
      found.push({
        set: this.#join(`peer${family}-${keyHash(peer)}`, [addressType(family)], () => this.#podLists(peer, family)),
        by: "address",
      });
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
        key: [address, transportName(protocol) ?? String(protocol), String(port)],
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
    const nodes = (which: "host" | "remote-node" | "any") => nodeElements(this.#snapshot, { which, node: this.#node, family });
    if (entity === "host" || entity === "remote-node") return this.#addresses("entity", entity, family, () => nodes(entity));
    const lists = () => [nodes("any"), ...this.#podLists("any", family)].filter((list) => list.length > 0);
    const set = this.#join(`entity${family}-${hashOf("cluster")}`, [addressType(family)], lists);
    return { set, by: "address", ...(entity === "world" ? { not: true } : {}) };
  }

  #addresses(prefix: string, key: string, family: Family, elements: () => readonly NftElement[]): PeerLookup {
    const own = () => elements().filter(({ key: [address] }) => familyOf(address ?? "") === family);
    return { set: this.#set(`${prefix}${family}`, key, [addressType(family)], own), by: "address" };
  }

  ports(selections: readonly Selection[] | "any", names: readonly NamedPort[], family: Family): string {
    const who = selections === "any" ? "any" : selections.map(selectionKey).sort().join();
    const wanted = names.flatMap(({ protocol, name }) =>
      (protocol === undefined ? WITH_PORTS : [protocol]).map((each) => ({ protocol: each, name })),
    );
    const what = wanted
      .map(({ protocol, name }) => `${transportName(protocol) ?? protocol}/${name}`)
      .sort()
      .join();
    const open = (pod: Pod) =>
      wanted.flatMap(({ protocol, name }) =>
        namedPorts(pod, protocol, name).map((port) => [transportName(protocol) ?? String(protocol), String(port)]),
      );
    const of = (pod: Pod, address: string): NftElement[] => open(pod).map((part) => ({ key: [address, ...part], owner: podOwner(pod) }));
    const maker: ElementMaker = {
      key: `ports${family} ${what}`,
      make: (pod) => addressElements(pod, family).flatMap(({ key: [address = ""] }) => of(pod, address)),
    };
    return this.#join(`ports${family}-${hashOf(`${who} ${what}`)}`, portKey(family), () => [
      ...(selections === "any" ? (["any"] as const) : selections).flatMap((each) => this.#lists(each, family, { maker, of })),
      ...this.#hostPorts(selections, wanted, family),
    ]);
  }

  /** Where host end points have the ports: one list, or none. */
  #hostPorts(
    selections: readonly Selection[] | "any",
    wanted: readonly { readonly protocol: number; readonly name: string }[],
    family: Family,
  ): NftElement[][] {
    const ends = endPoints(this.#snapshot)
      .ofKinds(["host"])
      .filter((end) => selections === "any" || selections.some((each) => selectsEnd(this.#snapshot, each, end)));
    const elements = ends.flatMap(({ host, owner }) =>
      (host?.addresses ?? [])
        .filter((address) => familyOf(address) === family)
        .flatMap((address) =>
          wanted.flatMap(({ protocol, name }) =>
            (host ? hostPorts(host, protocol, name) : []).map(
              (port): NftElement => ({ key: [address, transportName(protocol) ?? String(protocol), String(port)], owner }),
            ),
          ),
        ),
    );
    return elements.length > 0 ? [elements] : [];
  }

  #podLists(selection: Selection | "any", family: Family): (readonly NftElement[])[] {
    const maker: ElementMaker = { key: `addresses${family}`, make: (pod) => addressElements(pod, family) };
    return this.#lists(selection, family, { maker, of: (pod, address) => [{ key: [address], owner: podOwner(pod) }] });
  }

  /** The elements of the selected pods, and those of their addresses that only the node knows. */
  #lists(
    selection: Selection | "any",
    family: Family,
    { maker, of }: { readonly maker: ElementMaker; readonly of: (pod: Pod, address: string) => NftElement[] },
  ): (readonly NftElement[])[] {
    const key = selection === "any" ? "any" : selectionKey(selection);
    const known = podElements(this.#snapshot, selection, { key, maker });
    const lists = this.#former.size === 0 ? known : known.map((list) => list.filter((element) => !this.#isFormer(element)));
    const wired = this.#wired
      .filter(({ pod, address }) => familyOf(address) === family && (selection === "any" || selects(this.#snapshot, selection, pod)))
      .flatMap(({ pod, address }) => of(pod, address));
    return wired.length > 0 ? [...lists, wired] : lists;
  }

  #isFormer({ key: [address = ""], owner }: NftElement): boolean {
    return owner !== undefined && this.#former.get(address) === `${owner.namespace}/${owner.name}`;
  }

  #join(name: string, key: readonly NftType[], lists: () => readonly (readonly NftElement[])[]): string {
    if (!this.#sets.has(name)) this.#sets.set(name, joinSet({ name, key }, lists()));
    return name;
  }

  #set(prefix: string, key: string, type: readonly NftType[], elements: () => NftElement[], flag?: "interval"): string {
    const name = `${prefix}-${hashOf(key)}`;
    if (!this.#sets.has(name)) {
      const unique = new Map(elements().map((element) => [element.key.join(" "), element]));
      this.#sets.set(name, { name, key: type, ...(flag ? { flags: [flag] } : {}), elements: [...unique.values()] });
    }
    return name;
  }
}

const nodesKept = new WeakMap<object, Map<string, readonly NftElement[]>>();

/** The addresses of nodes: of this one, of every other, or of all; the same list as long as no node changes. */
function nodeElements(
  { nodes }: ClusterSnapshot,
  { which, node, family }: { readonly which: "host" | "remote-node" | "any"; readonly node: string; readonly family: Family },
): readonly NftElement[] {
  let known = nodesKept.get(nodes);
  if (!known) {
    known = new Map();
    nodesKept.set(nodes, known);
  }
  const key = `${which} ${which === "any" ? "" : node} ${family}`;
  let elements = known.get(key);
  if (!elements) {
    elements = [...nodesByAddress(nodes)].flatMap(([address, name]) =>
      familyOf(address) === family && (which === "any" || (name === node) === (which === "host"))
        ? [{ key: [address], owner: { kind: "Node", name } }]
        : [],
    );
    known.set(key, elements);
  }
  return elements;
}

const hashes = new WeakMap<Selection, string>();

function keyHash(selection: Selection): string {
  let hash = hashes.get(selection);
  if (hash === undefined) {
    hash = hashOf(selectionKey(selection));
    hashes.set(selection, hash);
  }
  return hash;
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
