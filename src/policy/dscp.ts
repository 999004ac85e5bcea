// DSCP marking: what a pod with Calico's annotation sends out of the cluster carries the value that the annotation names.
//
//   postrouting-mangle ─▶ policy-dscp: to within the cluster: return;   saddr vmap @pod-dscpN ─▶ dscp-VALUE: ip dscp set VALUE
import { type Family, familyOf, tryParsePrefix } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { dscpNumber, type NftChain, type NftElement, type NftRule, type NftSet, type TableContribution } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { calicoParts, specOf } from "./calico/objects.ts";
import { blockOf, nodesByAddress } from "./ends.ts";
import { blockElements } from "./intervals.ts";
import type { CidrPeer } from "./rules.ts";

const ANNOTATION = "qos.projectcalico.org/dscp";
const NOTHING: TableContribution = { chains: [], sets: [], hooks: [] };

interface LocalPod {
  readonly address: string;
  readonly pod: Pod | undefined;
}

/** The chains and sets that mark what the node's pods send out; nothing where no pod has the annotation. */
export function planDscp(snapshot: ClusterSnapshot, locals: readonly LocalPod[], remarks: string[]): TableContribution {
  const elements = new Map<Family, NftElement[]>();
  const values = new Set<number>();
  for (const { address, pod } of locals) {
    const value = pod && dscpOf(pod, remarks);
    if (value === undefined) continue;
    values.add(value);
    const family = familyOf(address);
    const owner = { kind: "Pod", namespace: pod?.metadata.namespace ?? "default", name: pod?.metadata.name ?? "" };
    const list = elements.get(family) ?? [];
    list.push({ key: [address], value: { verdict: "jump", chain: `dscp-${value}` }, owner });
    elements.set(family, list);
  }
  if (values.size === 0) return NOTHING;
  const families = [...elements.keys()].sort();
  const inside = families.map((family) => insideSet(snapshot, family));
  return {
    chains: [...[...values].sort((a, b) => a - b).map(valueChain), { name: "policy-dscp", rules: families.flatMap(familyRules) }],
    sets: [
      ...inside,
      ...families.map(
        (family): NftSet => ({
          name: `pod-dscp${family}`,
          key: [typeOf(family)],
          value: ["verdict"],
          elements: elements.get(family) ?? [],
        }),
      ),
    ],
    hooks: [{ chain: "postrouting-mangle", order: 50, rules: [{ matches: [], statements: [{ verdict: "jump", chain: "policy-dscp" }] }] }],
  };
}

function dscpOf(pod: Pod, remarks: string[]): number | undefined {
  const text = pod.metadata.annotations?.[ANNOTATION];
  if (text === undefined) return undefined;
  const value = dscpNumber(text);
  const remark = `Pod ${pod.metadata.namespace ?? "default"}/${pod.metadata.name}: metadata.annotations["${ANNOTATION}"]: ${JSON.stringify(text)} is no DSCP: a number from 0 to 63 or a name such as EF, AF41, CS1; nothing is marked`;
  if (value === undefined && !remarks.includes(remark)) remarks.push(remark);
  return value;
}

function familyRules(family: Family): NftRule[] {
  const [saddr, daddr] = family === 4 ? (["ip saddr", "ip daddr"] as const) : (["ip6 saddr", "ip6 daddr"] as const);
  return [
    { matches: [{ left: daddr, op: "==", right: { set: `inside${family}` } }], statements: [{ verdict: "return" }] },
    { matches: [], statements: [{ vmap: { key: [saddr], map: `pod-dscp${family}` } }] },
  ];
}

function valueChain(value: number): NftChain {
  const rule = (family: Family): NftRule => ({
    matches: [{ left: "meta nfproto", op: "==", right: family === 4 ? "ipv4" : "ipv6" }],
    statements: [{ setDscp: value, ...(family === 6 ? { family } : {}) }],
  });
  return { name: `dscp-${value}`, rules: [rule(4), rule(6)] };
}

/** Addresses of the cluster: pod networks, pools of addresses, and nodes. */
function insideSet(snapshot: ClusterSnapshot, family: Family): NftSet {
  const blocks: string[] = [...nodesByAddress(snapshot.nodes).keys()].map(blockOf);
  for (const { spec } of snapshot.nodes.values()) blocks.push(...(spec?.podCIDRs ?? (spec?.podCIDR === undefined ? [] : [spec.podCIDR])));
  const [pools] = calicoParts(snapshot, ["IPPool"]);
  for (const pool of pools?.values() ?? []) {
    const { cidr } = specOf(pool);
    if (typeof cidr === "string") blocks.push(cidr);
  }
  const peers = blocks.filter((text) => tryParsePrefix(text)).map((cidr): CidrPeer => ({ kind: "cidr", cidr, except: [] }));
  return {
    name: `inside${family}`,
    key: [typeOf(family)],
    flags: ["interval"],
    elements: blockElements(peers, family).map((key) => ({ key: [key] })),
  };
}

function typeOf(family: Family): "ipv4_addr" | "ipv6_addr" {
  return family === 4 ? "ipv4_addr" : "ipv6_addr";
}
