// Pods that may reach somebody, but not the cluster's DNS.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { Owner } from "../kernel/index.ts";
import type { Pod } from "../resources/index.ts";
import { podAddresses } from "./ends.ts";
import { evaluatePolicies } from "./evaluate.ts";
import { keyOf, nameOf, type PolicyFinding } from "./finding.ts";
import { indexPolicies } from "./policy-index.ts";
import { rulePath } from "./rule-path.ts";
import type { Policy, PortMatch, Rule } from "./rules.ts";

const DNS_PORT = 53;
const UDP = 17;

/** Pods that may ask somebody, and not the cluster's DNS: nothing that they do by name works. */
export function forgottenDns(snapshot: ClusterSnapshot, pods: readonly Pod[]): PolicyFinding[] {
  const index = indexPolicies(snapshot);
  const servers = [...snapshot.pods.select("kube-system", { matchLabels: { "k8s-app": "kube-dns" } })].filter(
    (pod) => !pod.spec.hostNetwork,
  );
  const found = new Map<string, { policy: Policy; path: string; pods: string[] }>();
  for (const pod of pods) {
    const policies = index
      .selecting(snapshot, pod)
      .filter((policy) => !policy.staged && (policy.isolates.includes("egress") || policy.egress.length > 0));
    const isolating = policies.find((policy) => policy.isolates.includes("egress"));
    // A pod that may go nowhere at all is meant so.
    if (servers.includes(pod) || policies.every((policy) => !policy.egress.some(({ action }) => action === "allow"))) continue;
    const answer = asksDns(snapshot, pod, { servers, policies, isolating });
    if (!answer) continue;
    const key = nameOf(answer.policy.owner);
    const entry = found.get(key) ?? { ...answer, pods: [] };
    entry.pods.push(pod.metadata.name);
    found.set(key, entry);
  }
  return [...found.values()].map(({ policy, pods: names, path }) => ({
    severity: "warning",
    code: "dns-forgotten",
    policy: policy.owner,
    path,
    says: `${names.length === 1 ? names[0] : `${names.length} pods (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""})`} may not ask the cluster's DNS: ${path === "spec.egress" ? "no egress rule lets UDP 53 out" : "this denies UDP 53"}`,
    remedy: "allow UDP and TCP 53 to namespace kube-system, pods k8s-app=kube-dns",
  }));
}

/** The policy that keeps the pod from every DNS server, and where; by its ports alone where there is no server to try. */
function asksDns(
  snapshot: ClusterSnapshot,
  pod: Pod,
  { servers, policies, isolating }: { servers: readonly Pod[]; policies: readonly Policy[]; isolating: Policy | undefined },
): { readonly policy: Policy; readonly path: string } | undefined {
  if (servers.length === 0 || podAddresses(pod).length === 0) {
    if (!isolating || policies.some((policy) => policy.egress.some((rule) => rule.action === "allow" && allowsDns(rule.traffic))))
      return undefined;
    return { policy: isolating, path: "spec.egress" };
  }
  let denied: Owner | undefined;
  for (const server of servers) {
    const to = { pod: keyOf(server) };
    const verdict = evaluatePolicies(snapshot, { from: { pod: keyOf(pod) }, to, protocol: "UDP", port: DNS_PORT });
    if (verdict.verdict === "allow" || verdict.direction === "ingress") return undefined;
    denied ??= verdict.decidedBy;
  }
  const policy = policies.find(({ owner }) => denied && nameOf(owner) === nameOf(denied)) ?? isolating;
  return policy && { policy, path: denied?.rule === undefined ? "spec.egress" : rulePath(denied, "egress") };
}

function allowsDns(traffic: Rule["traffic"]): boolean {
  if (traffic === "any") return true;
  const allows = (port: PortMatch) => ("name" in port ? port.name.startsWith("dns") : port.from <= DNS_PORT && DNS_PORT <= port.to);
  return traffic.some(
    ({ protocol, notProtocol, ports }) => (protocol ?? UDP) === UDP && notProtocol !== UDP && (!ports || ports.some(allows)),
  );
}
