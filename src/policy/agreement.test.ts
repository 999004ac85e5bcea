// Three readings of the same policies must agree: evaluate, a naive oracle, and a walk of the written nft rules.
import assert from "node:assert/strict";
import { test } from "node:test";
import { matchesSelector, plainSnapshot } from "../../test/plain-snapshot.ts";
import { randomCluster } from "../../test/random-policies.ts";
import { familyOf, parseAddress, parsePrefix, prefixContains } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { NftMatch, NftRule, TableContribution } from "../kernel/index.ts";
import type { NetworkPolicyPeer, NetworkPolicyPort, Pod } from "../resources/index.ts";
import { evaluatePolicies, planPolicy } from "./index.ts";

interface Packet {
  readonly source: string;
  readonly target: string;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
}

function oracle(snapshot: ClusterSnapshot, packet: Packet): boolean {
  const from = snapshot.pods.byAddress(packet.source);
  const to = snapshot.pods.byAddress(packet.target);
  if (from && from === to) return true;
  const way = (subject: Pod, peer: Pod | undefined, peerAddress: string, direction: "Ingress" | "Egress"): boolean => {
    let isolated = false;
    for (const policy of snapshot.networkPolicies.values()) {
      const { spec, metadata } = policy;
      if (metadata.namespace !== subject.metadata.namespace || !matchesSelector(spec.podSelector ?? {}, subject.metadata.labels ?? {}))
        continue;
      const types = spec.policyTypes ?? (spec.egress?.length ? ["Ingress", "Egress"] : ["Ingress"]);
      if (!types.includes(direction)) continue;
      isolated = true;
      const rules =
        direction === "Ingress"
          ? (spec.ingress ?? []).map((r) => ({ peers: r.from, ports: r.ports }))
          : (spec.egress ?? []).map((r) => ({ peers: r.to, ports: r.ports }));
      const peerOk = (p: NetworkPolicyPeer): boolean => {
        if (p.ipBlock) {
          const inside = (text: string) => prefixContains(parsePrefix(text), parseAddress(peerAddress));
          return inside(p.ipBlock.cidr) && !(p.ipBlock.except ?? []).some(inside);
        }
        if (!peer) return false;
        const name = peer.metadata.namespace ?? "";
        const labels = { ...snapshot.namespaces.get(name)?.metadata.labels, "kubernetes.io/metadata.name": name };
        if (p.namespaceSelector ? !matchesSelector(p.namespaceSelector, labels) : name !== metadata.namespace) return false;
        return matchesSelector(p.podSelector ?? {}, peer.metadata.labels ?? {});
      };
      const portOk = (p: NetworkPolicyPort): boolean => {
        if ((p.protocol ?? "TCP") !== packet.protocol) return false;
        if (p.port === undefined) return true;
        if (typeof p.port === "number") return packet.port >= p.port && packet.port <= (p.endPort ?? p.port);
        const ports = to?.spec.containers.flatMap((c) => c.ports ?? []) ?? [];
        return ports.some((c) => c.name === p.port && (c.protocol ?? "TCP") === packet.protocol && c.containerPort === packet.port);
      };
      for (const r of rules) if ((!r.peers?.length || r.peers.some(peerOk)) && (!r.ports?.length || r.ports.some(portOk))) return true;
    }
    return !isolated;
  };
  if (from && !way(from, to, packet.target, "Egress")) return false;
  const ownNode = packet.source.startsWith("10.112.0.5") && to?.spec.nodeName === `node-${packet.source.at(-1)}`;
  return !to || ownNode || way(to, from, packet.source, "Ingress");
}

/** Walks a new packet through one of the contribution's chains. */
function walk(table: TableContribution, start: string, packet: Packet): "drop" | "on" {
  const family = familyOf(packet.source);
  const sets = new Map(table.sets.map((set) => [set.name, set]));
  const chains = new Map(table.chains.map((chain) => [chain.name, chain.rules]));
  const value = (field: unknown): string | undefined => {
    switch (field) {
      case "ip saddr":
        return family === 4 ? packet.source : undefined;
      case "ip daddr":
        return family === 4 ? packet.target : undefined;
      case "ip6 saddr":
        return family === 6 ? packet.source : undefined;
      case "ip6 daddr":
        return family === 6 ? packet.target : undefined;
      case "meta l4proto":
        return packet.protocol.toLowerCase();
      case "th dport":
        return String(packet.port);
      case "meta nfproto":
        return `ipv${family}`;
      case "tcp flags":
        return "syn";
      case "ct state":
        return "new";
      case "icmpv6 type":
        return undefined;
      default:
        // The number that the rules carry.
        if (typeof field === "object" && field !== null && "offset" in field) return String(field.offset);
        throw new Error(`unknown field ${JSON.stringify(field)}`);
    }
  };
  const within = (part: string, actual: string): boolean => {
    if (part === actual) return true;
    if (part.includes("/")) return prefixContains(parsePrefix(part), parseAddress(actual));
    const [low, high] = part.split("-");
    if (high === undefined || low === undefined) return false;
    const number = (text: string) => (/^\d+$/.test(text) ? BigInt(text) : parseAddress(text).value);
    return number(actual) >= number(low) && number(actual) <= number(high);
  };
  const matches = (match: NftMatch): boolean => {
    if ("opaque" in match) throw new Error("opaque");
    const actual = (Array.isArray(match.left) ? match.left : [match.left]).map(value);
    if (actual.includes(undefined)) return false;
    const right = match.right;
    const keys =
      typeof right === "string"
        ? [[right]]
        : "set" in right
          ? (sets.get(right.set)?.elements.map(({ key }) => key) ?? assert.fail(right.set))
          : (right as readonly string[]).map((part) => [part]);
    return keys.some((key) => key.every((part, index) => within(part, actual[index] as string)));
  };
  const run = (rules: readonly NftRule[]): "drop" | "on" => {
    for (const rule of rules) {
      if (!rule.matches.every(matches)) continue;
      for (const statement of rule.statements) {
        let verdict: unknown = statement;
        if ("vmap" in statement) {
          const key = statement.vmap.key.map(value);
          verdict = sets.get(statement.vmap.map as string)?.elements.find((element) => element.key.join() === key.join())?.value;
        }
        const { verdict: word, chain } = (verdict ?? {}) as { verdict?: string; chain?: string };
        if (word === "drop") return "drop";
        if (word === "return") return "on";
        if (word === "jump" && run(chains.get(chain as string) ?? assert.fail(`no chain ${chain}`)) === "drop") return "drop";
      }
    }
    return "on";
  };
  return run(chains.get(start) ?? []);
}

test("evaluate, the oracle and the written rules agree on random clusters, for every pair", () => {
  let denied = 0;
  let allowed = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const snapshot = plainSnapshot(randomCluster(seed));
    const tables = new Map([1, 2].map((n) => [`node-${n}`, planPolicy(snapshot, `node-${n}`, []).table]));
    const ends = [...snapshot.pods.values()]
      .flatMap((pod) => (pod.status?.podIPs ?? []).map(({ ip }) => ip))
      .concat("203.0.113.9", "10.112.0.51", "10.112.0.52");
    for (const source of new Set(ends)) {
      for (const target of new Set(ends)) {
        if (familyOf(source) !== familyOf(target)) continue;
        for (const [protocol, port] of [
          ["TCP", 80],
          ["UDP", 53],
          ["TCP", 8080],
          ["SCTP", 80],
          ["TCP", 8050],
        ] as const) {
          const packet: Packet = { source, target, protocol, port };
          const verdict = evaluatePolicies(snapshot, { from: { address: source }, to: { address: target }, protocol, port });
          const expected = oracle(snapshot, packet);
          const where = `seed ${seed}: ${source} → ${target} ${protocol} ${port}`;
          assert.equal(verdict.verdict === "allow", expected, `${where}: ${verdict.says}`);
          const from = snapshot.pods.byAddress(source)?.spec.nodeName;
          const to = snapshot.pods.byAddress(target)?.spec.nodeName;
          const hostOf = (address: string) => (address.startsWith("10.112.0.5") ? `node-${address.at(-1)}` : undefined);
          let dropped = false;
          for (const [node, table] of tables) {
            if (from !== node && to !== node) continue;
            if (hostOf(source) === node) continue;
            if (walk(table, hostOf(target) === node ? "policy-input" : "policy-forward", packet) === "drop") dropped = true;
          }
          assert.equal(!dropped, expected, `rules, ${where}: ${verdict.says}`);
          if (expected) allowed++;
          else denied++;
        }
      }
    }
  }
  assert.ok(denied > 1000 && allowed > 1000, `${denied} denied, ${allowed} allowed`);
});
