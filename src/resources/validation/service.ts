// Services and EndpointSlices.
import { familyOf, tryParseAddress } from "../../base/index.ts";
import { isMap, textOf } from "../json.ts";
import { checkLabels } from "./metadata.ts";
import { addressFault, checkPort, checkPortOrName, checkPrefix, checkText, keyFault, labelFault, subdomainFault } from "./names.ts";
import { findDuplicates, type Place } from "./place.ts";

export interface NodePortRange {
  readonly first: number;
  readonly last: number;
}

/** The API server's own range. */
const NODE_PORTS: NodePortRange = { first: 30_000, last: 32_767 };
const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
const DAY = 86_400;

/** A Service, and what may not change of it. */
export function checkService(service: Place, old: unknown, range: NodePortRange = NODE_PORTS): void {
  const spec = service.at("spec");
  if (!spec.present) {
    spec.at("ports").required();
    return;
  }
  if (!spec.isMap()) return;
  const type = spec.at("type").oneOf(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]) ?? "ClusterIP";
  const headless = spec.at("clusterIP").value === "None";
  const ports = spec.at("ports").items();
  if (ports.length === 0 && type !== "ExternalName" && !headless && (!spec.at("ports").present || Array.isArray(spec.at("ports").value)))
    spec.at("ports").required();
  for (const port of ports) checkServicePort(port, { several: ports.length > 1, type, range });
  checkPortDuplicates(ports);
  checkLabels(spec.at("selector"));
  checkTraffic(spec, type);
  checkAddresses(spec, type);
  checkImmutable(spec, type, old);
}

function checkServicePort(
  port: Place,
  { several, type, range }: { readonly several: boolean; readonly type: string; readonly range: NodePortRange },
): void {
  if (!port.isMap()) return;
  const name = port.at("name");
  if (several && !name.value) name.required("a Service with more than one port needs a name for each");
  else if (name.value !== "") checkText(name, labelFault);
  if (port.at("port").require()) checkPort(port.at("port"));
  if (port.at("protocol").value !== "") port.at("protocol").oneOf(PROTOCOLS);
  const target = port.at("targetPort");
  // A target that is the port itself, given or by default, is at fault with it: that is told once.
  if (target.present && target.value !== 0 && target.value !== "" && target.value !== port.at("port").value) checkPortOrName(target);
  checkText(port.at("appProtocol"), keyFault);
  const nodePort = port.at("nodePort");
  const number = nodePort.integer();
  if (number === undefined || number === 0) return;
  if (type !== "NodePort" && type !== "LoadBalancer") nodePort.forbidden(`may not be used when \`type\` is '${type}'`);
  else if (number < range.first || number > range.last)
    nodePort.invalid(`provided port is not in the valid range. The range of valid ports is ${range.first}-${range.last}`);
}

function checkPortDuplicates(ports: readonly Place[]): void {
  findDuplicates(ports.map((port) => [port.at("name"), nonEmpty(port.at("name").value)]));
  const protocol = (port: Place) => textOf(port.at("protocol").value ?? "TCP");
  const seen = { port: new Set<string>(), nodePort: new Set<string>() };
  for (const port of ports) {
    const value = port.at("port").value;
    const key = `${protocol(port)}/${textOf(value)}`;
    if (value !== undefined && seen.port.has(key)) port.duplicate({ port: value, protocol: protocol(port) });
    seen.port.add(key);
    const nodePort = port.at("nodePort");
    const nodeKey = `${protocol(port)}/${textOf(nodePort.value)}`;
    if (nodePort.value && seen.nodePort.has(nodeKey)) nodePort.duplicate();
    seen.nodePort.add(nodeKey);
  }
}

function checkTraffic(spec: Place, type: string): void {
  const affinity = spec.at("sessionAffinity").oneOf(["None", "ClientIP"]);
  const timeout = spec.at("sessionAffinityConfig").at("clientIP").at("timeoutSeconds");
  if (affinity === "ClientIP") timeout.between(1, DAY);
  else if (timeout.present) spec.at("sessionAffinityConfig").forbidden("must not be set when session affinity is None");
  const external = spec.at("externalTrafficPolicy");
  const reachable = type === "NodePort" || type === "LoadBalancer" || spec.at("externalIPs").present;
  if (external.value && !reachable) external.invalid("may only be set for externally-accessible services");
  else if (external.value !== "") external.oneOf(["Cluster", "Local"]);
  if (spec.at("internalTrafficPolicy").value !== "") spec.at("internalTrafficPolicy").oneOf(["Cluster", "Local"]);
  if (spec.at("healthCheckNodePort").value !== 0) checkPort(spec.at("healthCheckNodePort"));
  spec.at("publishNotReadyAddresses").flag();
  spec.at("allocateLoadBalancerNodePorts").flag();
  if (spec.at("trafficDistribution").value !== "")
    spec.at("trafficDistribution").oneOf(["PreferClose", "PreferSameZone", "PreferSameNode"]);
  const ranges = spec.at("loadBalancerSourceRanges");
  if (ranges.items().length > 0 && type !== "LoadBalancer") ranges.forbidden("may only be used when `type` is 'LoadBalancer'");
  for (const range of ranges.items()) checkPrefix(range);
}

function checkAddresses(spec: Place, type: string): void {
  for (const address of spec.at("externalIPs").items()) {
    const text = checkText(address, addressFault);
    if (text !== undefined && isNearby(text)) address.invalid("may not be unspecified, loopback, link-local or multicast");
  }
  const clusterIP = spec.at("clusterIP");
  const clusterIPs = spec.at("clusterIPs");
  if (type === "ExternalName") {
    const name = spec.at("externalName");
    if (name.require("must be given where `type` is 'ExternalName'")) checkText(name, (text) => subdomainFault(text.replace(/\.$/, "")));
    if (clusterIP.value) clusterIP.forbidden("may not be set when `type` is 'ExternalName'");
    return;
  }
  spec.at("externalName").text();
  const isAddress = (text: string) => (text === "None" || text === "" ? undefined : addressFault(text));
  checkText(clusterIP, isAddress);
  const all = clusterIPs.items();
  for (const address of all) checkText(address, isAddress);
  if (all.length > 2) clusterIPs.invalid("may only hold up to 2 values");
  const first = all[0];
  if (first && clusterIP.value && first.value !== clusterIP.value) first.invalid(`must be the same as spec.clusterIP`);
  if (all.length === 2 && all.every(({ value }) => typeof value === "string" && tryParseAddress(value))) {
    if (familyOf(textOf(all[0]?.value)) === familyOf(textOf(all[1]?.value))) clusterIPs.invalid("must hold one address of each IP family");
  }
  if (clusterIP.value === "None" && (type === "NodePort" || type === "LoadBalancer"))
    clusterIP.invalid(`may not be set to 'None' for ${type} services`);
  const families = spec.at("ipFamilies").items();
  for (const family of families) family.oneOf(["IPv4", "IPv6"]);
  findDuplicates(families.map((family) => [family, nonEmpty(family.value)]));
  for (const [index, family] of families.entries()) {
    const address = all[index]?.value ?? (index === 0 ? clusterIP.value : undefined);
    if (typeof address !== "string" || !tryParseAddress(address)) continue;
    if (family.value !== `IPv${familyOf(address)}`) family.invalid(`must be the family of the cluster address ${address}`);
  }
  const policy = spec.at("ipFamilyPolicy").oneOf(["SingleStack", "PreferDualStack", "RequireDualStack"]);
  if (policy === "SingleStack" && (families.length > 1 || all.length > 1))
    spec.at("ipFamilyPolicy").invalid("must be 'RequireDualStack' or 'PreferDualStack' when there are two families or cluster addresses");
}

/** A Service keeps its cluster address for life, unless it becomes or was an ExternalName. */
function checkImmutable(spec: Place, type: string, old: unknown): void {
  const before = isMap(old) && isMap(old.spec) ? old.spec : undefined;
  if (!before || type === "ExternalName" || before.type === "ExternalName") return;
  const given = spec.at("clusterIP");
  if (given.value && before.clusterIP && given.value !== before.clusterIP) {
    const toHeadless = given.value === "None" || before.clusterIP === "None";
    given.invalid(toHeadless ? "may not change between 'None' and an address once set" : "may not change once set");
  }
}

/** Addresses that never leave a link or a host, or name many. */
function isNearby(text: string): boolean {
  return /^(0\.0\.0\.0$|127\.|169\.254\.|2(2[4-9]|3\d)\.|::1?$|fe[89ab][0-9a-f]:|ff)/i.test(text);
}

/** An EndpointSlice. */
export function checkEndpointSlice(slice: Place, old: unknown): void {
  const type = slice.at("addressType");
  const family = type.require() ? type.oneOf(["IPv4", "IPv6", "FQDN"]) : undefined;
  if (isMap(old) && typeof old.addressType === "string" && old.addressType !== type.value) type.invalid("field is immutable");
  const endpoints = slice.at("endpoints");
  const all = endpoints.items();
  if (all.length > 1000) endpoints.invalid("must have at most 1000 items", `${all.length} items`);
  for (const endpoint of all.slice(0, 1000)) checkEndpoint(endpoint, family);
  const ports = slice.at("ports").items();
  if (ports.length > 100) slice.at("ports").invalid("must have at most 100 items", `${ports.length} items`);
  for (const port of ports) {
    if (!port.isMap()) continue;
    if (port.at("name").value !== "") checkText(port.at("name"), labelFault);
    port.at("protocol").oneOf(PROTOCOLS);
    checkPort(port.at("port"));
    checkText(port.at("appProtocol"), keyFault);
  }
  findDuplicates(ports.map((port) => [port.at("name"), typeof port.at("name").value === "string" ? textOf(port.at("name").value) : ""]));
}

function checkEndpoint(endpoint: Place, family: "IPv4" | "IPv6" | "FQDN" | undefined): void {
  if (!endpoint.isMap()) return;
  const addresses = endpoint.at("addresses");
  const all = addresses.items();
  if (all.length === 0 && (!addresses.present || Array.isArray(addresses.value))) addresses.required("must contain at least 1 address");
  if (all.length > 100) addresses.invalid("must have at most 100 items", `${all.length} items`);
  for (const address of all) {
    const text = checkText(address, family === "FQDN" ? subdomainFault : addressFault);
    if (text !== undefined && (family === "IPv4" || family === "IPv6") && `IPv${familyOf(text)}` !== family)
      address.invalid(`must be an ${family} address`);
  }
  checkText(endpoint.at("hostname"), labelFault);
  checkText(endpoint.at("nodeName"), subdomainFault);
  endpoint.at("zone").text();
  const conditions = endpoint.at("conditions");
  if (conditions.isMap()) for (const condition of ["ready", "serving", "terminating"]) conditions.at(condition).flag();
  endpoint.at("targetRef").isMap();
}

function nonEmpty(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
