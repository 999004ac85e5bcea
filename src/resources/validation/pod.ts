// Pods and the templates of pods.

import { tryParseAddress } from "../../base/index.ts";
import { textOf } from "../json.ts";
import { checkLabels } from "./metadata.ts";
import { addressFault, checkPort, checkPortOrName, checkText, labelFault, portNameFault, subdomainFault } from "./names.ts";
import { findDuplicates, type Place } from "./place.ts";

const MAX_NAMESERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARACTERS = 2048;
const HANDLERS = ["exec", "httpGet", "tcpSocket", "grpc"] as const;

/** A pod. */
export function checkPod(pod: Place): void {
  const spec = pod.at("spec");
  if (!spec.present) spec.required();
  checkPodSpec(spec);
}

/** A pod's or a template's specification, if it is there. */
export function checkPodSpec(spec: Place): void {
  if (!spec.isMap()) return;
  spec.at("restartPolicy").oneOf(["Always", "OnFailure", "Never"]);
  checkDns(spec);
  spec.at("terminationGracePeriodSeconds").notNegative();
  const onHost = spec.at("hostNetwork").flag() ?? false;
  for (const field of ["hostPID", "hostIPC", "enableServiceLinks", "setHostnameAsFQDN"]) spec.at(field).flag();
  checkText(spec.at("hostname"), labelFault);
  checkText(spec.at("subdomain"), labelFault);
  checkText(spec.at("nodeName"), (text) => (text === "" ? undefined : subdomainFault(text)));
  spec.at("serviceAccountName").text();
  checkLabels(spec.at("nodeSelector"));
  checkTolerations(spec.at("tolerations"));
  for (const alias of spec.at("hostAliases").items()) {
    if (!alias.isMap()) continue;
    if (alias.at("ip").require()) checkText(alias.at("ip"), addressFault);
    for (const name of alias.at("hostnames").items()) checkText(name, subdomainFault);
  }
  const containers = spec.at("containers");
  const all = containers.items();
  if (all.length === 0 && (!containers.present || Array.isArray(containers.value))) containers.required();
  const initial = spec.at("initContainers").items();
  for (const container of initial) checkContainer(container, onHost);
  for (const container of all) checkContainer(container, onHost);
  findDuplicates([...initial, ...all].map((container) => [container.at("name"), text(container.at("name").value)]));
  checkHostPorts(all);
  const volumes = spec.at("volumes").items();
  for (const volume of volumes) if (volume.isMap() && volume.at("name").require()) checkText(volume.at("name"), labelFault);
  findDuplicates(volumes.map((volume) => [volume.at("name"), text(volume.at("name").value)]));
}

function checkDns(spec: Place): void {
  const policy = spec.at("dnsPolicy").oneOf(["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]);
  const config = spec.at("dnsConfig");
  const servers = config.at("nameservers").items();
  if (policy === "None" && servers.length === 0)
    config.at("nameservers").required("must provide at least one DNS nameserver when `dnsPolicy` is None");
  if (!config.isMap()) return;
  if (servers.length > MAX_NAMESERVERS) config.at("nameservers").invalid(`must not have more than ${MAX_NAMESERVERS} nameservers`);
  for (const server of servers) checkText(server, addressFault);
  const searches = config.at("searches").items();
  if (searches.length > MAX_SEARCHES) config.at("searches").invalid(`must not have more than ${MAX_SEARCHES} search paths`);
  for (const search of searches)
    checkText(search, (name) => (name === "." ? undefined : subdomainFault(name.replace(/\.$/, "").replaceAll("_", "x"))));
  const length = searches.reduce((sum, { value }) => sum + (typeof value === "string" ? value.length + 1 : 0), -1);
  if (length > MAX_SEARCH_CHARACTERS)
    config.at("searches").invalid(`must not have more than ${MAX_SEARCH_CHARACTERS} characters (including spaces) in the search list`);
  for (const option of config.at("options").items()) {
    if (!option.isMap()) continue;
    if (option.at("name").require()) option.at("name").text();
    option.at("value").text();
  }
}

function checkTolerations(tolerations: Place): void {
  for (const toleration of tolerations.items()) {
    if (!toleration.isMap()) continue;
    const operator = toleration.at("operator");
    const word = operator.value === "" ? undefined : operator.oneOf(["Exists", "Equal", "Lt", "Gt"]);
    toleration.at("key").text();
    if (word === "Exists" && toleration.at("value").text()) toleration.at("value").invalid("must be empty where `operator` is 'Exists'");
    if (!toleration.at("key").value && word !== "Exists") operator.invalid("must be Exists when `key` is empty");
    if (toleration.at("effect").value !== "") toleration.at("effect").oneOf(["NoSchedule", "PreferNoSchedule", "NoExecute"]);
  }
}

function checkContainer(container: Place, onHost: boolean): void {
  if (!container.isMap()) return;
  if (container.at("name").require()) checkText(container.at("name"), labelFault);
  if (container.at("image").require()) {
    const image = container.at("image").text();
    if (image !== undefined && image !== image.trim()) container.at("image").invalid("must not have leading or trailing whitespace");
  }
  container.at("imagePullPolicy").oneOf(["Always", "IfNotPresent", "Never"]);
  for (const list of ["command", "args"]) for (const word of container.at(list).items()) word.text();
  const ports = container.at("ports").items();
  for (const port of ports) checkContainerPort(port, onHost);
  findDuplicates(ports.map((port) => [port.at("name"), text(port.at("name").value)]));
  for (const env of container.at("env").items()) checkEnv(env);
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) checkProbe(container.at(probe), probe !== "readinessProbe");
  for (const hook of ["postStart", "preStop"]) container.at("lifecycle").at(hook).isMap();
  for (const mount of container.at("volumeMounts").items())
    if (mount.isMap()) for (const field of ["name", "mountPath"]) if (mount.at(field).require()) mount.at(field).text();
}

function checkContainerPort(port: Place, onHost: boolean): void {
  if (!port.isMap()) return;
  if (port.at("name").value !== "") checkText(port.at("name"), portNameFault);
  const number = port.at("containerPort").require() ? checkPort(port.at("containerPort")) : undefined;
  const hostPort = port.at("hostPort").value === 0 ? undefined : checkPort(port.at("hostPort"));
  if (onHost && number !== undefined && hostPort !== undefined && hostPort !== number)
    port.at("hostPort").invalid("must match `containerPort` when `hostNetwork` is true");
  if (port.at("hostIP").value !== "") checkText(port.at("hostIP"), addressFault);
  port.at("protocol").oneOf(["TCP", "UDP", "SCTP"]);
}

function checkEnv(env: Place): void {
  if (!env.isMap()) return;
  if (env.at("name").require()) {
    checkText(env.at("name"), (name) => (/^[ -<>-~]+$/.test(name) ? undefined : "must be printable ASCII characters other than '='"));
  }
  const given = env.at("value").text();
  if (given && env.at("valueFrom").present) env.at("valueFrom").invalid("may not be specified when `value` is not empty");
  env.at("valueFrom").isMap();
}

function checkProbe(probe: Place, successOnce: boolean): void {
  if (!probe.isMap()) return;
  const handlers = HANDLERS.filter((handler) => probe.at(handler).present);
  if (handlers.length === 0) probe.required("must specify a handler type: exec, httpGet, tcpSocket or grpc");
  for (const handler of handlers.slice(1)) probe.at(handler).forbidden("may not specify more than 1 handler type");
  for (const field of ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"]) probe.at(field).notNegative();
  const successes = probe.at("successThreshold").notNegative();
  if (successOnce && successes !== undefined && successes > 1) probe.at("successThreshold").invalid("must be 1");
  for (const handler of handlers) {
    const place = probe.at(handler);
    if (!place.isMap()) continue;
    if (handler === "exec") {
      if (place.at("command").items().length === 0) place.at("command").required();
      continue;
    }
    const port = place.at("port");
    if (!port.require()) continue;
    if (handler === "grpc") checkPort(port);
    else checkPortOrName(port);
    if (handler === "httpGet") {
      place.at("scheme").oneOf(["HTTP", "HTTPS"]);
      place.at("path").text();
    }
  }
}

/** Two containers of a pod can't have one port of the host, on the same address. */
function checkHostPorts(containers: readonly Place[]): void {
  const ports = containers.flatMap((container) => (Array.isArray(container.at("ports").value) ? container.at("ports").items() : []));
  const used = ports.filter((port) => port.at("hostPort").value);
  findDuplicates(
    used.map((port) => {
      const address = port.at("hostIP").value;
      const known = typeof address === "string" && tryParseAddress(address) ? address : "";
      return [port.at("hostPort"), `${textOf(port.at("protocol").value ?? "TCP")}/${known}/${textOf(port.at("hostPort").value)}`] as const;
    }),
  );
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
