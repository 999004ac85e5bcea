// Kinds with few rules: ConfigMaps, Secrets, Nodes, Ingresses.
import { type IpPrefix, prefixesOverlap } from "../../base/index.ts";
import { isMap } from "../json.ts";
import { checkPort, checkPrefix, checkText, keyFault, labelValueFault, subdomainFault } from "./names.ts";
import type { Place } from "./place.ts";

/** Bytes that the data of a ConfigMap or Secret may take together. */
const MAX_DATA = 1024 * 1024;

/** A ConfigMap, or a Secret. */
export function checkData(object: Place, old: unknown): void {
  const binary = object.at("kind").value === "Secret" ? ["data"] : ["binaryData"];
  const plain = object.at("kind").value === "Secret" ? ["stringData"] : ["data"];
  let size = 0;
  for (const field of [...plain, ...binary]) {
    for (const key of object.at(field).keys()) {
      const place = object.at(field).key(key);
      if (!/^[-._a-zA-Z0-9]{1,253}$/.test(key) || key === "." || key.startsWith(".."))
        place.invalid("a key must be at most 253 letters, digits, '-', '_' and '.', and not begin with '..'", key);
      const text = place.text();
      if (text !== undefined && binary.includes(field) && !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text)) place.invalid("must be base64");
      size += text?.length ?? 0;
      if (field === "binaryData" && isMap(object.at("data").value) && object.at("data").key(key).present)
        place.invalid("is in `data` too", key);
    }
  }
  if (size > MAX_DATA) object.at(plain[0] ?? "data").invalid(`must have at most ${MAX_DATA} bytes in all`, `${size} bytes`);
  object.at("immutable").flag();
  if (!isMap(old) || old.immutable !== true) return;
  for (const field of [...plain, ...binary]) {
    if (JSON.stringify(old[field] ?? {}) !== JSON.stringify(object.at(field).value ?? {}))
      object.at(field).forbidden("field is immutable when `immutable` is set");
  }
}

/** A Node. Its share of the pod network never changes once it has one. */
export function checkNode(node: Place, old: unknown): void {
  const spec = node.at("spec");
  if (!spec.isMap()) return;
  const podCIDR = spec.at("podCIDR");
  const podCIDRs = spec.at("podCIDRs");
  if (podCIDR.value !== "") checkPrefix(podCIDR);
  const prefixes: IpPrefix[] = [];
  for (const place of podCIDRs.items()) {
    const prefix = checkPrefix(place);
    if (!prefix) continue;
    if (prefixes.some((other) => other.family === prefix.family)) place.invalid("must hold at most one prefix of each IP family");
    else if (prefixes.some((other) => prefixesOverlap(other, prefix))) place.duplicate();
    prefixes.push(prefix);
  }
  const first = podCIDRs.items()[0];
  if (first && podCIDR.value && first.value !== podCIDR.value) first.invalid("must be the same as spec.podCIDR");
  for (const taint of spec.at("taints").items()) {
    if (!taint.isMap()) continue;
    if (taint.at("key").require()) checkText(taint.at("key"), keyFault);
    checkText(taint.at("value"), labelValueFault);
    if (taint.at("effect").require()) taint.at("effect").oneOf(["NoSchedule", "PreferNoSchedule", "NoExecute"]);
  }
  spec.at("unschedulable").flag();
  const before = isMap(old) && isMap(old.spec) ? old.spec.podCIDR : undefined;
  if (before && before !== podCIDR.value) podCIDR.forbidden('node updates may not change podCIDR except from "" to valid');
}

/** An Ingress: hosts, paths and back ends. */
export function checkIngress(ingress: Place): void {
  const spec = ingress.at("spec");
  if (!spec.isMap()) return;
  const rules = spec.at("rules").items();
  if (rules.length === 0 && !spec.at("defaultBackend").present) spec.invalid("either `defaultBackend` or `rules` must be specified");
  checkBackend(spec.at("defaultBackend"));
  for (const rule of rules) {
    if (!rule.isMap()) continue;
    checkText(rule.at("host"), (host) => (host === "" ? undefined : subdomainFault(host.replace(/^\*\./, ""))));
    const http = rule.at("http");
    if (!http.isMap()) continue;
    if (http.at("paths").items().length === 0) http.at("paths").required();
    for (const path of http.at("paths").items()) {
      if (!path.isMap()) continue;
      const type = path.at("pathType").require("pathType must be specified")
        ? path.at("pathType").oneOf(["Exact", "Prefix", "ImplementationSpecific"])
        : undefined;
      const text = path.at("path").text();
      if ((type === "Exact" || type === "Prefix") && !text?.startsWith("/"))
        path.at("path").invalid("must be an absolute path", text ?? "");
      if (path.at("backend").present) checkBackend(path.at("backend"));
      else path.at("backend").required();
    }
  }
}

function checkBackend(backend: Place): void {
  if (!backend.isMap()) return;
  const service = backend.at("service");
  if (!service.present) {
    if (!backend.at("resource").present) service.required("a back end is a service or a resource");
    return;
  }
  if (!service.isMap()) return;
  if (service.at("name").require()) checkText(service.at("name"), subdomainFault);
  const port = service.at("port");
  if (!port.isMap()) {
    if (!port.present) port.required("port name or number is required");
    return;
  }
  const named = port.at("name").text();
  if (port.at("number").value) checkPort(port.at("number"));
  else if (!named) port.required("port name or number is required");
}
