// Host end points as nft chains: what comes in to a node, what it sends, and what it forwards, at the interfaces that lead off it.
//
//   prerouting-raw, output-raw   policy-host-raw-*      doNotTrack: allowed is not tracked          ─┐ allowed there:
//   prerouting-mangle            policy-host-mangle     preDNAT: allowed is marked                  ─┴▶ asked no more
//   filter-input, filter-output  policy-host-input/…    the host's own connections, then profiles
//   filter-forward               policy-host-forward    applyOnForward, on the way in and on the way out
//
// Always open: replies, neighbour discovery, the loopback, the node's own pods, tunnels between nodes, failsafe ports.
import { type Family, transportName } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { BaseChainName, NftChain, NftMatch, NftRule, NftStatement, TableContribution } from "../kernel/index.ts";
import { blockOf, nodesByAddress } from "./ends.ts";
import { type Failsafe, failsafePorts, type HostStage, type HostSubject, policiesAt, TUNNEL_PORTS } from "./hosts.ts";
import type { PeerSets } from "./peer-sets.ts";
import { policyChains } from "./policy-chains.ts";
import type { Direction, Tier } from "./rules.ts";
import { addressField } from "./traffic-matches.ts";
import { DENY, SETTLE } from "./version.ts";

export interface HostContext {
  readonly snapshot: ClusterSnapshot;
  readonly sets: PeerSets;
  readonly bridge: string;
  tier(name: string): Tier;
}

type HostTable = Omit<TableContribution, "sets">;

const NOTHING: HostTable = { chains: [], hooks: [] };
/** Of packets that a preDNAT policy allowed. Services' masquerade has 0x4000. */
const ALLOWED_MARK = 0x0020_0000;
const RETURN: NftStatement = { verdict: "return" };
const ESTABLISHED: NftRule = { matches: [{ left: "ct state", op: "==", right: ["established", "related"] }], statements: [RETURN] };
const UNTRACKED: NftRule = { matches: [{ left: "ct state", op: "==", right: "untracked" }], statements: [RETURN] };
const MARKED: NftRule = {
  matches: [{ left: { field: "meta mark", mask: ALLOWED_MARK }, op: "==", right: `0x${ALLOWED_MARK.toString(16).padStart(8, "0")}` }],
  statements: [RETURN],
};
const DISCOVERY: NftRule = {
  matches: [
    { left: "icmpv6 type", op: "==", right: ["nd-router-solicit", "nd-router-advert", "nd-neighbor-solicit", "nd-neighbor-advert"] },
  ],
  statements: [RETURN],
};

/** One hook: a stage in a direction. */
interface Place {
  readonly base: BaseChainName;
  readonly chain: string;
  readonly stage: HostStage;
  readonly direction: Direction;
}

const PLACES: readonly Place[] = [
  { base: "prerouting-raw", chain: "policy-host-raw-in", stage: "untracked", direction: "ingress" },
  { base: "output-raw", chain: "policy-host-raw-out", stage: "untracked", direction: "egress" },
  { base: "prerouting-mangle", chain: "policy-host-mangle", stage: "before-nat", direction: "ingress" },
  { base: "filter-input", chain: "policy-host-input", stage: "connection", direction: "ingress" },
  { base: "filter-output", chain: "policy-host-output", stage: "connection", direction: "egress" },
  { base: "filter-forward", chain: "policy-host-forward-in", stage: "forwarded", direction: "ingress" },
  { base: "filter-forward", chain: "policy-host-forward-out", stage: "forwarded", direction: "egress" },
];

/** The chains for a node's host end points; nothing where it has none. */
export function planHosts(subjects: readonly HostSubject[], context: HostContext): HostTable {
  if (subjects.length === 0) return NOTHING;
  const parts = PLACES.map((place) => planPlace(place, subjects, context));
  return { chains: parts.flatMap(({ chains }) => chains), hooks: parts.flatMap(({ hooks }) => hooks) };
}

function planPlace(place: Place, subjects: readonly HostSubject[], context: HostContext): HostTable {
  const chains = new Map<string, NftChain>();
  const jumps = (whose: readonly HostSubject[]): NftRule[] =>
    whose.flatMap((subject) => {
      const made = subjectChains(subject, place, context);
      for (const chain of made?.chains ?? []) chains.set(chain.name, chain);
      return whereOf(subject, place).map(
        (matches): NftRule => ({ matches, statements: [made ? { verdict: "goto", chain: made.entry } : RETURN], owner: subject.end.owner }),
      );
    });
  // A packet meets one of Calico's host end points, and besides it the node as Cilium sees it.
  const calico = jumps(subjects.filter(({ pods }) => !pods));
  const cilium = jumps(subjects.filter(({ pods }) => pods));
  if (chains.size === 0) return NOTHING;
  const device = place.direction === "ingress" ? "meta iifname" : "meta oifname";
  const pods: NftRule[] = [context.bridge, "cali*"].map((name) => ({
    matches: [{ left: device, op: "==", right: name }],
    statements: [RETURN],
  }));
  const failsafe = place.stage === "forwarded" ? [] : failsafeRules(place, context.snapshot);
  const entries: NftChain[] = [];
  const steps: NftRule[] = [];
  for (const [name, rules] of [
    [`${place.chain}-node`, cilium.length > 0 && place.stage === "connection" ? cilium : []],
    [`${place.chain}-end`, calico.length > 0 ? [...pods, ...failsafe, ...calico] : []],
  ] as const) {
    if (rules.length === 0) continue;
    entries.push({ name, rules });
    steps.push({ matches: [], statements: [{ verdict: "jump", chain: name }] });
  }
  const loopback: NftRule = { matches: [{ left: device, op: "==", right: "lo" }], statements: [RETURN] };
  const tracked = place.stage === "untracked" ? [] : [ESTABLISHED, UNTRACKED];
  const marked = place.stage === "connection" || place.stage === "forwarded" ? [MARKED] : [];
  const own = place.direction === "egress" && place.stage === "connection" ? pods : [];
  const settle = place.stage === "connection" || place.stage === "forwarded" ? [SETTLE] : [];
  const entry: NftChain = {
    name: place.chain,
    rules: [...tracked, DISCOVERY, loopback, ...marked, ...own, ...tunnelRules(place, context), ...steps, ...settle],
  };
  return {
    chains: [...chains.values(), ...entries, entry],
    hooks: [{ chain: place.base, order: 45, rules: [{ matches: [], statements: [{ verdict: "jump", chain: place.chain }] }] }],
  };
}

function subjectChains(subject: HostSubject, { stage, direction }: Place, { sets, tier }: HostContext) {
  const policies = policiesAt(subject, stage, direction);
  if (policies.length === 0) return undefined;
  const allow: readonly NftStatement[] =
    stage === "untracked"
      ? [{ notrack: true }, RETURN]
      : stage === "before-nat"
        ? [{ setMark: { value: ALLOWED_MARK, mask: ~ALLOWED_MARK >>> 0 } }, RETURN]
        : [RETURN];
  const ends = stage === "connection" || stage === "forwarded";
  // Before these, nobody asks once more: raw and mangle decide by themselves.
  const deny: NftStatement = ends ? DENY : { verdict: "drop" };
  return policyChains(policies, { direction, sets, tier, variant: { name: `${stage} ${subject.end.kind}`, allow, deny, ends } });
}

/** Where a subject is: at its interface, at its addresses, or everywhere. */
function whereOf({ device, addresses }: HostSubject, { direction, stage }: Place): NftMatch[][] {
  if (device !== undefined) return [[{ left: direction === "ingress" ? "meta iifname" : "meta oifname", op: "==", right: device }]];
  if (!addresses) return [[]];
  // An end point that only its addresses name has no interface that is known: what is forwarded can't be told to be its.
  if (stage === "forwarded") return [];
  return ([4, 6] as const).flatMap((family) => {
    const own = addresses.filter((each) => each.includes(":") === (family === 6));
    const which = direction === "ingress" ? "destination" : "source";
    return own.length === 0 ? [] : [[{ left: addressField(which, family), op: "==" as const, right: own }]];
  });
}

function failsafeRules({ direction, stage }: Place, snapshot: ClusterSnapshot): NftRule[] {
  const rules = failsafeMatches(failsafePorts(snapshot, direction), direction === "ingress" ? "source" : "destination", "th dport");
  if (stage !== "untracked") return rules;
  // Before tracking, what answers to a port that is safe in the other direction is told by where it comes from.
  const other: Direction = direction === "ingress" ? "egress" : "ingress";
  return [...rules, ...failsafeMatches(failsafePorts(snapshot, other), direction === "ingress" ? "source" : "destination", "th sport")];
}

function failsafeMatches(ports: readonly Failsafe[], peer: "source" | "destination", field: "th dport" | "th sport"): NftRule[] {
  const groups = Map.groupBy(ports, ({ protocol, cidr }) => `${protocol} ${cidr ?? ""}`);
  return [...groups.values()].map((group): NftRule => {
    const { protocol = 0, cidr } = group[0] ?? {};
    const numbers = [...new Set(group.map(({ port }) => String(port)))];
    const name = transportName(protocol) ?? String(protocol);
    const [only] = numbers;
    return {
      matches: [
        ...(cidr === undefined ? [] : [{ left: addressField(peer, cidr.includes(":") ? 6 : 4), op: "==" as const, right: cidr }]),
        { left: "meta l4proto", op: "==", right: name },
        { left: field, op: "==", right: only !== undefined && numbers.length === 1 ? only : numbers },
      ],
      statements: [RETURN],
      owner: { kind: "Fairlead", name: "failsafe" },
    };
  });
}

/** Nodes' tunnels to each other carry pods' packets, which have policies of their own. */
function tunnelRules({ direction, stage }: Place, { snapshot, sets }: HostContext): NftRule[] {
  if (stage === "forwarded" || nodesByAddress(snapshot.nodes).size === 0) return [];
  return ([4, 6] as const).flatMap((family: Family): NftRule[] => {
    const blocks = [...nodesByAddress(snapshot.nodes).keys()].map((address) => ({
      kind: "cidr" as const,
      cidr: blockOf(address),
      except: [],
    }));
    const [lookup] = sets.lookups(blocks, family);
    if (!lookup || lookup === "always") return [];
    return [
      {
        matches: [
          { left: addressField(direction === "ingress" ? "source" : "destination", family), op: "==", right: { set: lookup.set } },
          { left: "meta l4proto", op: "==", right: "udp" },
          { left: "th dport", op: "==", right: TUNNEL_PORTS.map(String) },
        ],
        statements: [RETURN],
      },
    ];
  });
}
