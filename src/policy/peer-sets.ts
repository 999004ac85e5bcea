// The nft sets that rules refer to: addresses of selected pods, blocks of addresses, and named ports where pods have them.
import { createHash } from "node:crypto";
import { type Family, familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NftElement, NftSet, NftType } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { podAddresses } from "./ends.ts";
import { namedPorts } from "./evaluate.ts";
import { blockElements } from "./intervals.ts";
import { selectionKey, testLabels } from "./labels.ts";
import { compareText, namespaceLabels } from "./policy-index.ts";
import type { CidrPeer, PodSelection } from "./rules.ts";

interface Member {
  readonly pod: Pod;
  readonly addresses: readonly string[];
}

/** Collects the sets while the rules are written; selections written alike share one set. */
export class PeerSets {
  readonly families: readonly Family[];
  readonly #snapshot: ClusterSnapshot;
  /** Addresses known on the node before the API has them, by "namespace/name". */
  readonly #wired = new Map<string, string[]>();
  readonly #members = new Map<string, Member[]>();
  readonly #sets = new Map<string, NftSet>();

  constructor(
    snapshot: ClusterSnapshot,
    families: readonly Family[],
    locals: readonly { readonly namespace: string; readonly name: string; readonly address: string }[],
  ) {
    this.#snapshot = snapshot;
    this.families = families;
    for (const { namespace, name, address } of locals) {
      const key = `${namespace}/${name}`;
      const list = this.#wired.get(key);
      if (list) list.push(address);
      else this.#wired.set(key, [address]);
    }
  }

  build(): NftSet[] {
    return [...this.#sets.values()].sort((a, b) => compareText(a.name, b.name));
  }

  /** Name of the set of the selected pods' addresses. */
  pods(selection: PodSelection, family: Family): string {
    return this.#set(`peer${family}`, selectionKey(selection), [addressType(family)], () => {
      const elements: NftElement[] = [];
      for (const { pod, addresses } of this.#select(selection)) {
        for (const address of addresses) if (familyOf(address) === family) elements.push({ key: [address], owner: podOwner(pod) });
      }
      return elements;
    });
  }

  /** Name of the interval set of the blocks; undefined where the family has none. */
  blocks(blocks: readonly CidrPeer[], family: Family): string | undefined {
    const elements = blockElements(blocks, family);
    if (elements.length === 0) return undefined;
    return this.#set(`block${family}`, elements.join(), [addressType(family)], () => elements.map((key) => ({ key: [key] })), "interval");
  }

  /** Name of the set of (address, protocol, port) where pods of the selections have the named ports. "any": every pod of the cluster. */
  ports(
    selections: readonly PodSelection[] | "any",
    names: readonly { readonly protocol: string; readonly name: string }[],
    family: Family,
  ): string {
    const who = selections === "any" ? "any" : selections.map(selectionKey).sort().join();
    const what = names
      .map(({ protocol, name }) => `${protocol}/${name}`)
      .sort()
      .join();
    return this.#set(`ports${family}`, `${who} ${what}`, [addressType(family), "inet_proto", "inet_service"], () => {
      const members =
        selections === "any"
          ? [...this.#snapshot.pods.values()].flatMap((pod) => this.#member(pod))
          : selections.flatMap((each) => this.#select(each));
      const elements: NftElement[] = [];
      for (const { pod, addresses } of members) {
        const open = names.flatMap((name) => namedPorts(pod, name).map((port) => [name.protocol.toLowerCase(), String(port)]));
        for (const address of addresses.filter((each) => familyOf(each) === family)) {
          for (const part of open) elements.push({ key: [address, ...part], owner: podOwner(pod) });
        }
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

  #select(selection: PodSelection): Member[] {
    const key = selectionKey(selection);
    const known = this.#members.get(key);
    if (known) return known;
    const members: Member[] = [];
    for (const namespace of this.#namespaces(selection)) {
      const { selector, test } = selection.podSelector;
      const pods = selector ? this.#snapshot.pods.select(namespace, selector) : this.#snapshot.pods.inNamespace(namespace);
      for (const pod of pods) if (selector || testLabels(test, pod.metadata.labels ?? {})) members.push(...this.#member(pod));
    }
    this.#members.set(key, members);
    return members;
  }

  #member(pod: Pod): Member[] {
    if (pod.spec.hostNetwork) return [];
    const wired = this.#wired.get(`${pod.metadata.namespace ?? "default"}/${pod.metadata.name}`) ?? [];
    const addresses = [...new Set([...podAddresses(pod), ...wired])];
    return addresses.length === 0 ? [] : [{ pod, addresses }];
  }

  #namespaces({ namespace, namespaceSelector }: PodSelection): string[] {
    if (namespaceSelector === undefined && namespace !== undefined) return [namespace];
    const names: string[] = [];
    for (const { metadata } of this.#snapshot.namespaces.values()) {
      if (namespace !== undefined && metadata.name !== namespace) continue;
      if (testLabels(namespaceSelector?.test ?? { op: "all", of: [] }, namespaceLabels(this.#snapshot, metadata.name) ?? {}))
        names.push(metadata.name);
    }
    return names;
  }
}

/** Twelve hexadecimal digits that name a thing by its content. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}

function addressType(family: Family): NftType {
  return family === 4 ? "ipv4_addr" : "ipv6_addr";
}

function podOwner(pod: Pod) {
  return { kind: "Pod", namespace: pod.metadata.namespace ?? "default", name: pod.metadata.name };
}
