// What containers take from other objects: ConfigMaps and Secrets, and fields of their own pod (the downward API).
import type { Container, KubeObject, Pod } from "../../resources/index.ts";

/** How a pod's references are looked up. */
export interface References {
  /** A ConfigMap or Secret of the pod's namespace. */
  find(kind: "ConfigMap" | "Secret", name: string): KubeObject | undefined;
  /** Services that a pod of the namespace learns by its environment: name, address, ports. */
  services(): readonly { readonly name: string; readonly address: string; readonly ports: readonly ServiceVariable[] }[];
  readonly node: string;
  readonly hostAddresses: readonly string[];
  readonly addresses: readonly string[];
}

export interface ServiceVariable {
  readonly name?: string;
  readonly port: number;
  readonly protocol: string;
}

/** Why a container cannot be made yet; it is tried again until what is missing comes. */
export class MissingReference extends Error {}

/** The data of a ConfigMap or Secret, as bytes. */
function dataOf(object: KubeObject): Map<string, Buffer> {
  const { data = {}, binaryData = {} } = object as { data?: Record<string, string>; binaryData?: Record<string, string> };
  const encoding = object.kind === "Secret" ? "base64" : "utf8";
  return new Map([
    ...Object.entries(data).map(([key, value]): [string, Buffer] => [key, Buffer.from(value, encoding)]),
    ...Object.entries(binaryData).map(([key, value]): [string, Buffer] => [key, Buffer.from(value, "base64")]),
  ]);
}

/** @throws MissingReference unless it is optional */
export function findData(
  references: References,
  kind: "ConfigMap" | "Secret",
  name: string,
  optional: boolean,
): Map<string, Buffer> | undefined {
  const object = references.find(kind, name);
  if (object) return dataOf(object);
  if (optional) return undefined;
  throw new MissingReference(`${kind === "Secret" ? "secret" : "configmap"} "${name}" not found`);
}

/** A field of the pod (downward API): `metadata.labels['app']`, `status.podIP`, …; undefined if there is no such field. */
export function fieldOf(pod: Pod, path: string, references: References): string | undefined {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  const { metadata, spec } = pod;
  if (keyed) return metadata[keyed[1] as "labels" | "annotations"]?.[keyed[2] ?? ""] ?? "";
  const lines = (map: Readonly<Record<string, string>> | undefined) =>
    Object.entries(map ?? {})
      .sort()
      .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
      .join("\n");
  const fields: Readonly<Record<string, string | undefined>> = {
    "metadata.name": metadata.name,
    "metadata.namespace": metadata.namespace,
    "metadata.uid": metadata.uid,
    "metadata.labels": lines(metadata.labels),
    "metadata.annotations": lines(metadata.annotations),
    "spec.nodeName": references.node,
    "spec.serviceAccountName": spec.serviceAccountName ?? "default",
    "status.podIP": references.addresses[0] ?? "",
    "status.podIPs": references.addresses.join(","),
    "status.hostIP": references.hostAddresses[0] ?? "",
    "status.hostIPs": references.hostAddresses.join(","),
  };
  return fields[path];
}

const SUFFIX: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
};

/** `limits.cpu`, `requests.memory`, … of a container, in units of the divisor, rounded up; "0" where nothing is set. */
export function resourceOf(container: Container | undefined, { resource, divisor }: { resource: string; divisor?: string }): string {
  const [list = "", name = ""] = resource.split(".");
  const resources = (container?.resources ?? {}) as Readonly<Record<string, Readonly<Record<string, string | number>> | undefined>>;
  const quantity = (text: string | number | undefined) => {
    const match = /^([0-9.]+)([a-zA-Z]*)$/.exec(String(text ?? "0"));
    return Number(match?.[1] ?? 0) * (SUFFIX[match?.[2] ?? ""] ?? 1);
  };
  const unit = quantity(divisor ?? "1") || 1;
  return String(Math.ceil(quantity(resources[list]?.[name]) / unit - 1e-9));
}

type EnvironmentEntry = NonNullable<Container["env"]>[number];

interface ValueFrom {
  readonly fieldRef?: { readonly fieldPath?: string };
  readonly resourceFieldRef?: { readonly resource?: string; readonly containerName?: string; readonly divisor?: string };
  readonly configMapKeyRef?: KeyReference;
  readonly secretKeyRef?: KeyReference;
}

interface KeyReference {
  readonly name?: string;
  readonly key?: string;
  readonly optional?: boolean;
}

interface SourceEntry {
  readonly prefix?: string;
  readonly configMapRef?: { readonly name?: string; readonly optional?: boolean };
  readonly secretRef?: { readonly name?: string; readonly optional?: boolean };
}

/** A container's environment: Services, then envFrom, then env, with $(NAME) filled in. @throws MissingReference */
export function environmentOf(container: Container, pod: Pod, references: References): Record<string, string> {
  const environment: Record<string, string> = {};
  Object.assign(environment, serviceVariables(references, pod.spec.enableServiceLinks !== false));
  for (const { prefix = "", configMapRef, secretRef } of (container.envFrom ?? []) as readonly SourceEntry[]) {
    for (const [kind, ref] of [["ConfigMap", configMapRef] as const, ["Secret", secretRef] as const]) {
      if (!ref?.name) continue;
      for (const [key, value] of findData(references, kind, ref.name, ref.optional ?? false) ?? [])
        environment[prefix + key] = value.toString("utf8");
    }
  }
  for (const entry of container.env ?? []) {
    const value = entryValue(entry, container, pod, references);
    if (value !== undefined) environment[entry.name] = entry.value === undefined ? value : expand(value, environment);
  }
  return environment;
}

function entryValue(entry: EnvironmentEntry, container: Container, pod: Pod, references: References): string | undefined {
  if (entry.value !== undefined) return entry.value;
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = (entry.valueFrom ?? {}) as ValueFrom;
  if (fieldRef?.fieldPath) return fieldOf(pod, fieldRef.fieldPath, references) ?? "";
  if (resourceFieldRef?.resource) {
    const { containerName, resource, divisor } = resourceFieldRef;
    const of = containerName ? pod.spec.containers.find(({ name }) => name === containerName) : container;
    return resourceOf(of, { resource, ...(divisor === undefined ? {} : { divisor }) });
  }
  for (const [kind, ref] of [["ConfigMap", configMapKeyRef] as const, ["Secret", secretKeyRef] as const]) {
    if (!ref?.name || !ref.key) continue;
    const value = findData(references, kind, ref.name, ref.optional ?? false)?.get(ref.key);
    if (value === undefined && !ref.optional)
      throw new MissingReference(`couldn't find key ${ref.key} in ${kind} ${pod.metadata.namespace}/${ref.name}`);
    return value?.toString("utf8");
  }
  return "";
}

/** $(NAME) is the variable's value, $$(NAME) is $(NAME) itself, and what is not known stays as it is. */
export function expand(text: string, environment: Readonly<Record<string, string>>): string {
  return text.replace(/\$(\$)?(\(([^()]*)\))/g, (whole, escaped: string | undefined, bare: string, name: string) =>
    escaped ? bare.replace(/^/, "$") : (environment[name] ?? whole),
  );
}

function serviceVariables(references: References, all: boolean): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const { name, address, ports } of references.services()) {
    if (!all && name !== "kubernetes") continue;
    const [first] = ports;
    if (!first) continue;
    const upper = name.toUpperCase().replaceAll("-", "_");
    variables[`${upper}_SERVICE_HOST`] = address;
    variables[`${upper}_SERVICE_PORT`] = String(first.port);
    for (const port of ports) {
      if (port.name) variables[`${upper}_SERVICE_PORT_${port.name.toUpperCase().replaceAll("-", "_")}`] = String(port.port);
      const link = `${upper}_PORT_${port.port}_${port.protocol}`;
      const url = `${port.protocol.toLowerCase()}://${address.includes(":") ? `[${address}]` : address}:${port.port}`;
      if (port === first) variables[`${upper}_PORT`] = url;
      variables[link] = url;
      variables[`${link}_PROTO`] = port.protocol.toLowerCase();
      variables[`${link}_PORT`] = String(port.port);
      variables[`${link}_ADDR`] = address;
    }
  }
  return variables;
}
