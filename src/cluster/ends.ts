// FROM and TO of probe, matrix and trace: what a person writes, found in a snapshot.
import { FairleadError, formatAddress, parseAddress, tryParseAddress } from "../base/index.ts";
import type { Node, Pod, Service } from "../resources/index.ts";
import type { ClusterSnapshot } from "./snapshot.ts";

/** One end of a connection. */
export type End =
  | { readonly kind: "pod"; readonly pod: Pod }
  | { readonly kind: "service"; readonly service: Service }
  | { readonly kind: "node"; readonly node: Node }
  | { readonly kind: "outside" }
  | { readonly kind: "address"; readonly address: string }
  | { readonly kind: "name"; readonly name: string };

export interface Target {
  readonly end: string;
  readonly port?: number | string;
}

/** Splits TO[:PORT]; an IPv6 address with a port stands in brackets. @throws FairleadError `bad-target` */
export function parseTarget(text: string): Target {
  const bracketed = /^\[([^\]]+)\](?::(.+))?$/.exec(text);
  const [end, port] = bracketed ? [bracketed[1] ?? "", bracketed[2]] : tryParseAddress(text) ? [text, undefined] : splitLast(text);
  if (port === undefined) return { end };
  if (/^\d+$/.test(port)) {
    const number = Number(port);
    if (number < 1 || number > 65_535) throw new FairleadError("bad-target", `"${port}" is no port`, { where: text, remedy: "ports go from 1 to 65535" });
    return { end, port: number };
  }
  return { end, port };
}

function splitLast(text: string): [string, string | undefined] {
  const colon = text.lastIndexOf(":");
  return colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}

/** Finds what `ns/pod`, `ns/workload`, `svc/ns/name`, `node/name`, `outside`, an address or a DNS name stands for. @throws FairleadError `no-such-end` */
export function findEnd(snapshot: ClusterSnapshot, text: string): End {
  return findEnds(snapshot, text)[0] ?? notFound(snapshot, text);
}

/** As findEnd, with every pod where the text names a workload; empty where nothing is found. */
export function findEnds(snapshot: ClusterSnapshot, text: string): End[] {
  if (text === "outside") return [{ kind: "outside" }];
  const address = tryParseAddress(text);
  if (address) return [endOfAddress(snapshot, formatAddress(address))];
  const parts = text.split("/");
  if (parts.length === 3 && (parts[0] === "svc" || parts[0] === "service")) {
    const service = snapshot.services.get(`${parts[1]}/${parts[2]}`);
    return service ? [{ kind: "service", service }] : [];
  }
  if (parts.length === 2 && parts[0] === "node") {
    const node = snapshot.nodes.get(parts[1] ?? "");
    return node ? [{ kind: "node", node }] : [];
  }
  if (parts.length === 2) return podsNamed(snapshot, parts[0] ?? "", parts[1] ?? "").map((pod) => ({ kind: "pod", pod }));
  return parts.length === 1 && text.includes(".") ? [{ kind: "name", name: text }] : [];
}

function endOfAddress(snapshot: ClusterSnapshot, address: string): End {
  const pod = snapshot.pods.byAddress(address);
  return pod ? { kind: "pod", pod } : { kind: "address", address };
}

/** A pod of that name, else the pods of the workload of that name, else those with the label app=name. */
function podsNamed(snapshot: ClusterSnapshot, namespace: string, name: string): Pod[] {
  const exact = snapshot.pods.get(`${namespace}/${name}`);
  if (exact) return [exact];
  const running = [...snapshot.pods.inNamespace(namespace)].filter((pod) => !isFinished(pod) && !pod.metadata.deletionTimestamp);
  const ofWorkload = running.filter((pod) => workloadOf(pod) === name);
  return ofWorkload.length > 0 ? ofWorkload : running.filter((pod) => pod.metadata.labels?.app === name);
}

/** Name of the Deployment, StatefulSet, … that a pod belongs to, read from its owner and name; the pod's own name if it stands alone. */
export function workloadOf(pod: Pod): string {
  const owner = pod.metadata.ownerReferences?.find((reference) => reference.controller);
  if (!owner) return pod.metadata.name;
  return owner.kind === "ReplicaSet" ? owner.name.replace(/-[a-z0-9]+$/, "") : owner.name;
}

function isFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

function notFound(snapshot: ClusterSnapshot, text: string): never {
  const [namespace = ""] = text.split("/");
  const names = [...new Set([...snapshot.pods.inNamespace(namespace)].map(workloadOf))].slice(0, 8).map((name) => `${namespace}/${name}`);
  const remedy =
    names.length > 0
      ? `there are ${names.join(", ")}`
      : `write ns/pod, svc/ns/name, node/name, outside, an address or a DNS name; namespaces: ${[...snapshot.namespaces.values()].map((each) => each.metadata.name).join(", ")}`;
  throw new FairleadError("no-such-end", `"${text}" is nothing in this cluster`, { remedy });
}

/** How an end is written in answers. */
export function nameOfEnd(end: End): string {
  switch (end.kind) {
    case "pod":
      return `${end.pod.metadata.namespace}/${end.pod.metadata.name}`;
    case "service":
      return `svc/${end.service.metadata.namespace}/${end.service.metadata.name}`;
    case "node":
      return `node/${end.node.metadata.name}`;
    case "outside":
      return "outside";
    case "address":
      return formatAddress(parseAddress(end.address));
    case "name":
      return end.name;
  }
}
