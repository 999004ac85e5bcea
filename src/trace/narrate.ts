// What the rules of one hook did to a packet, in words: Services, policies, masquerade, and rules that are not ours.
import { familyOf } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner, Packet, RuleStep } from "../kernel/index.ts";
import { DENIED_CHAIN, directionOfChain, evaluatePolicies, type NameBook, type PolicyStep } from "../policy/index.ts";
import { serviceTable } from "../services/index.ts";
import type { Hop } from "./hop.ts";
import type { Ending, Narrator } from "./walk.ts";
import { OUTSIDE, type Place } from "./world.ts";

type Direction = "ingress" | "egress";

/** Speaks for the rules, with what the cluster's objects say about them. */
export function createNarrator(snapshot: ClusterSnapshot, names: NameBook): Narrator {
  const nodes = new Map<string, string>();
  for (const node of snapshot.nodes.values())
    for (const { address, type } of node.status?.addresses ?? []) if (type !== "Hostname") nodes.set(address, node.metadata.name);

  const nameOf = (address: string): string => {
    const pod = snapshot.pods.byAddress(address);
    if (pod) return `${pod.metadata.namespace}/${pod.metadata.name}`;
    if (address === OUTSIDE[4] || address === OUTSIDE[6]) return "outside";
    return nodes.get(address) ?? serviceAt(address) ?? address;
  };
  const serviceAt = (address: string): string | undefined => {
    for (const service of snapshot.services.values())
      if (service.spec.clusterIPs?.includes(address)) return `svc/${service.metadata.namespace}/${service.metadata.name}`;
    return undefined;
  };

  return {
    nameOf,
    hook(place, before, result) {
      const hops: Hop[] = [];
      const hop = (stage: Hop["stage"], decision: string, says: string, owner?: Owner) =>
        hops.push({ node: place.node, namespace: place.namespace, stage, decision, says, ...(owner ? { owner } : {}) });
      const translated = result.steps.find((step) => step.does === "translate");
      if (translated) sayTranslation(translated, before, result.packet, { hop, nameOf });
      const last = result.verdict === "accept" ? undefined : decidingStep(result.steps);
      for (const direction of directionsOf(result.steps)) {
        const denied = last !== undefined && directionOfChain(last.chain) === direction;
        const told = explainPolicies(snapshot, before, { direction, denied, names });
        for (const step of told?.steps ?? [])
          hop("policy", step.decision, step.says, step.rule === undefined ? step.policy : { ...step.policy, rule: step.rule });
        if (denied) {
          const owner = last.owner;
          const says = told?.says ?? sayRule(last, "drops the packet");
          if (!told) hop("policy", "deny", `${says}; by the policies as they are now it would pass: the kernel is not in sync`, owner);
          return { hops, ending: endingOf("dropped", says, owner, direction) };
        }
        if (!told) {
          const allowed = result.steps.findLast((step) => directionOfChain(step.chain) === direction);
          hop(
            "policy",
            "allow",
            `${sayRule(allowed, "lets it through")}; by the policies as they are now it would not pass: the kernel is not in sync`,
            allowed?.owner,
          );
        }
      }
      if (!last) return { hops };
      const refusal = explainRefusal(snapshot, place, before, last);
      const word = result.verdict === "drop" ? "drop" : "reject";
      hop(refusal.stage, word, refusal.says, last.subject ?? last.owner);
      return {
        hops,
        ending: {
          kind: result.verdict === "drop" ? "dropped" : "rejected",
          reason: refusal.says,
          remedy: refusal.remedy,
          ...(last.owner ? { owner: last.owner } : {}),
        },
      };
    },
  };
}

/** The rule that dropped or rejected: where policies deny, the one that sent the packet to where it is dropped. */
function decidingStep(steps: readonly RuleStep[]): RuleStep | undefined {
  const last = steps.findLast((step) => step.does === "drop" || step.does === "reject");
  return last?.chain === DENIED_CHAIN ? steps.findLast((step) => step.to === DENIED_CHAIN) : last;
}

/** The directions whose policy chains the packet went through, in their order. */
function directionsOf(steps: readonly RuleStep[]): Direction[] {
  const found = new Set<Direction>();
  for (const { to } of steps) {
    const direction = to === undefined ? undefined : directionOfChain(to);
    if (direction) found.add(direction);
  }
  return [...found];
}

/** What the policies say about one direction; undefined where they say another thing than the kernel did. */
function explainPolicies(
  snapshot: ClusterSnapshot,
  packet: Packet,
  { direction, denied, names }: { readonly direction: Direction; readonly denied: boolean; readonly names: NameBook },
): { readonly steps: readonly PolicyStep[]; readonly says: string } | undefined {
  const connection = {
    from: { address: packet.source },
    to: { address: packet.destination },
    protocol: packet.protocol.toUpperCase(),
    ...(packet.destinationPort === 0 ? {} : { port: packet.destinationPort }),
  };
  const verdict = evaluatePolicies(snapshot, connection, names);
  const deniedHere = verdict.verdict === "deny" && verdict.direction === direction;
  if (deniedHere !== denied) return undefined;
  const steps = verdict.steps.filter((step) => step.direction === direction);
  if (steps.length === 0) return undefined;
  return { steps, says: verdict.says };
}

function endingOf(kind: "dropped", reason: string, owner: Owner | undefined, direction: Direction): Ending {
  const remedy = owner
    ? `add a rule that lets this through: to ${nameOwner(owner)}, or in another policy that selects the same pod (spec.${direction})`
    : "";
  return { kind, reason, remedy, ...(owner ? { owner } : {}) };
}

function sayTranslation(
  step: RuleStep,
  before: Packet,
  after: Packet,
  {
    hop,
    nameOf,
  }: {
    readonly hop: (stage: Hop["stage"], decision: string, says: string, owner?: Owner) => void;
    readonly nameOf: (address: string) => string;
  },
): void {
  if (after.destination === before.destination && after.destinationPort === before.destinationPort) {
    if (after.source !== before.source) hop("hook", "source translated", `${before.source} becomes ${after.source}`, step.owner);
    return;
  }
  const to = joined(after.destination, after.destinationPort);
  const from = joined(before.destination, before.destinationPort);
  const whose = nameOf(after.destination);
  const is = whose === after.destination ? "" : `, ${whose}`;
  if (step.owner?.kind === "Service") {
    const among =
      step.among === undefined ? "an end point" : step.among === 1 ? "its end point" : `one of its ${step.among} end points, here`;
    const port = step.owner.rule === undefined || step.owner.rule === "" ? "" : ` port ${step.owner.rule}`;
    hop("service", `to ${to}`, `${from} is ${nameOwner(step.owner)}${port}; the packet goes to ${among} ${to}${is}`, step.owner);
  } else hop("service", `to ${to}`, `${sayRule(step, `sends it from ${from} to ${to}${is}`)}`, step.owner);
}

function explainRefusal(
  snapshot: ClusterSnapshot,
  place: Place,
  packet: Packet,
  step: RuleStep,
): { readonly stage: Hop["stage"]; readonly says: string; readonly remedy: string } {
  const owner = step.subject;
  const service = owner?.kind === "Service" ? nameOwner(owner) : undefined;
  if (step.owner?.kind === "Fairlead" && service && owner) {
    const which = `${service}${owner.rule === undefined || owner.rule === "clusterIP" ? "" : ` port ${owner.rule}`}`;
    if (step.owner.name === "no-such-port") {
      const ports = snapshot.services.get(`${owner.namespace}/${owner.name}`)?.spec.ports ?? [];
      return {
        stage: "service",
        says: `${packet.destination} is the address of ${service}, which has no ${packet.protocol.toUpperCase()} port ${packet.destinationPort}`,
        remedy: `its ports: ${ports.map((port) => `${port.port}/${port.protocol ?? "TCP"}`).join(", ")}`,
      };
    }
    if (step.owner.name === "source-ranges")
      return {
        stage: "service",
        says: `${which} takes connections to ${packet.destination} only from its loadBalancerSourceRanges, and ${packet.source} is in none`,
        remedy: `widen spec.loadBalancerSourceRanges: ${(snapshot.services.get(`${owner.namespace}/${owner.name}`)?.spec.loadBalancerSourceRanges ?? []).join(", ")}`,
      };
    const local = step.owner.name === "no-local-endpoints";
    return {
      stage: "service",
      says: local
        ? `${which} has no ready end point on ${place.node}, and its traffic policy is Local`
        : `${which} has no ready end points`,
      remedy: local ? "send to a node that has one, or set the traffic policy to Cluster" : whyNoEndpoints(snapshot, owner, packet),
    };
  }
  if (step.owner?.kind === "Fairlead" && step.owner.name === "no-such-service")
    return {
      stage: "service",
      says: `${packet.destination} lies in the range of Services' addresses, and no Service has it`,
      remedy: "ask for the Service's present address: kubectl get services -A",
    };
  if (step.owner?.kind === "Fairlead" && step.owner.name === "forged-source")
    return {
      stage: "hook",
      says: `${packet.source} is not an address of the pod that sends it`,
      remedy: "a pod may only send from its own addresses",
    };
  if (step.owner?.kind === "Fairlead" && step.owner.name === "policy-unknown-pod")
    return {
      stage: "policy",
      says: "the pod is not known yet, and policies may select it",
      remedy: "wait until the pod is seen in the API",
    };
  return {
    stage: "hook",
    says: sayRule(step, step.does === "reject" ? "rejects the packet" : "drops the packet"),
    remedy: `look at: nft list table ${step.table}`,
  };
}

function whyNoEndpoints(snapshot: ClusterSnapshot, owner: Owner, packet: Packet): string {
  const service = snapshot.services.get(`${owner.namespace}/${owner.name}`);
  const selector = Object.entries(service?.spec.selector ?? {}).map(([key, value]) => `${key}=${value}`);
  if (selector.length === 0) return "the Service has no selector: its EndpointSlices must be made by hand";
  const pods = [...snapshot.pods.select(owner.namespace ?? "", { matchLabels: service?.spec.selector ?? {} })];
  if (pods.length === 0) return `no pod in ${owner.namespace} has the labels ${selector.join(", ")}`;
  const entry = serviceTable(snapshot).lookup(packet.destination, packet.protocol === "udp" ? "udp" : "tcp", packet.destinationPort);
  const family = familyOf(packet.destination);
  return entry && entry.endpoints.length > 0
    ? `its pods are not ready: ${pods.map((pod) => pod.metadata.name).join(", ")}`
    : `its pods (${pods.map((pod) => pod.metadata.name).join(", ")}) have no IPv${family} address, or not the port that targetPort names`;
}

function nameOwner({ kind, namespace, name }: Owner): string {
  return `${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

function sayRule(step: RuleStep | undefined, does: string): string {
  if (!step) return `a rule ${does}`;
  const at = step.rule === undefined ? `the policy of chain ${step.chain}` : `rule ${step.rule} of chain ${step.chain}`;
  return `${at} in table ${step.table} ${does}`;
}

function joined(address: string, port: number): string {
  if (port === 0) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
