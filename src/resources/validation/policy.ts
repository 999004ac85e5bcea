// NetworkPolicies.
import { formatPrefix, networkOf, prefixContains } from "../../base/index.ts";
import { checkSelector } from "./metadata.ts";
import { checkPortOrName, checkPrefix } from "./names.ts";
import type { Place } from "./place.ts";

/** A NetworkPolicy. */
export function checkNetworkPolicy(policy: Place): void {
  const spec = policy.at("spec");
  if (!spec.isMap()) return;
  checkFields(spec, ["podSelector", "policyTypes", "ingress", "egress"]);
  checkSelector(spec.at("podSelector"));
  const types = spec.at("policyTypes").items();
  if (types.length > 2) spec.at("policyTypes").invalid("may not hold more than Ingress and Egress");
  for (const type of types) type.oneOf(["Ingress", "Egress"]);
  for (const [direction, peers] of [
    ["ingress", "from"],
    ["egress", "to"],
  ] as const) {
    for (const rule of spec.at(direction).items()) {
      if (!rule.isMap()) continue;
      checkFields(rule, ["ports", peers]);
      for (const port of rule.at("ports").items()) checkPolicyPort(port);
      for (const peer of rule.at(peers).items()) checkPeer(peer);
    }
  }
}

/** A misspelt field would be passed over in silence, and open or close more than was meant. */
function checkFields(place: Place, known: readonly string[]): void {
  for (const name of place.keys()) if (!known.includes(name)) place.at(name).invalid(`unknown field; known are ${known.join(", ")}`, name);
}

function checkPolicyPort(policyPort: Place): void {
  if (!policyPort.isMap()) return;
  checkFields(policyPort, ["protocol", "port", "endPort"]);
  policyPort.at("protocol").oneOf(["TCP", "UDP", "SCTP"]);
  const port = policyPort.at("port");
  if (port.present) checkPortOrName(port);
  const end = policyPort.at("endPort");
  const last = end.integer();
  if (last === undefined) return;
  if (!port.present) port.required("must be specified when endPort is");
  else if (typeof port.value === "string") end.invalid("may not be used where port is a name");
  else if (last < 1 || last > 65_535) end.invalid("must be between 1 and 65535, inclusive");
  else if (typeof port.value === "number" && last < port.value) end.invalid("must be greater than or equal to `port`");
}

function checkPeer(peer: Place): void {
  if (!peer.isMap()) return;
  checkFields(peer, ["podSelector", "namespaceSelector", "ipBlock"]);
  const block = peer.at("ipBlock");
  const selectors = [peer.at("podSelector"), peer.at("namespaceSelector")].filter((selector) => selector.present);
  if (!block.present && selectors.length === 0) peer.required("must specify a peer: podSelector, namespaceSelector or ipBlock");
  for (const selector of selectors) checkSelector(selector);
  if (!block.present) return;
  if (selectors.length > 0) peer.forbidden("may not specify both ipBlock and another peer");
  if (!block.isMap() || !block.at("cidr").require()) return;
  const cidr = checkPrefix(block.at("cidr"));
  for (const except of block.at("except").items()) {
    const prefix = checkPrefix(except);
    if (!cidr || !prefix) continue;
    if (!prefixContains(cidr, prefix) || prefix.length <= cidr.length)
      except.invalid(`must be a strict subset of \`cidr\` ${formatPrefix(networkOf(cidr))}`);
  }
}
