// ResourceQuota: what a namespace may hold at most; what would be more is refused (admission plugin ResourceQuota).
import type { Container, KubeObject, Pod } from "../resources/index.ts";
import type { AdmissionHook } from "./admission.ts";
import { forbidden } from "./errors.ts";
import type { ObjectStore, ResourceRef } from "./store.ts";

export interface Quota extends KubeObject {
  readonly spec?: { readonly hard?: Readonly<Record<string, string | number>> };
  readonly status?: { readonly hard?: Readonly<Record<string, string>>; readonly used?: Readonly<Record<string, string>> };
}

export const QUOTAS = { group: "", version: "v1", plural: "resourcequotas" } as const;
type Reader = Pick<ObjectStore, "list">;

/** Kinds that are counted by their own name; all others by count/PLURAL.GROUP. */
const COUNTED = new Set(
  "configmaps persistentvolumeclaims pods replicationcontrollers resourcequotas secrets services services.loadbalancers services.nodeports".split(
    " ",
  ),
);

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  Ti: 1024 ** 4,
  Pi: 1024 ** 5,
};

/** A quantity as a number: "100m" is 0.1, "1Gi" 1073741824. NaN for what is none. */
function quantityOf(text: string | number | undefined): number {
  const match = /^([+-]?[0-9.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)$/.exec(String(text ?? "0"));
  return Number(match?.[1] ?? Number.NaN) * (UNITS[match?.[2] ?? ""] ?? Number.NaN);
}

/** What one object uses of a name of a quota. */
function useOf(name: string, resource: ResourceRef, object: KubeObject): number {
  const { group, plural } = resource;
  const counted = name.startsWith("count/") ? name.slice(6) : COUNTED.has(name) ? name : undefined;
  if (counted !== undefined) {
    const type = (object as { readonly spec?: { readonly type?: string } }).spec?.type;
    if (counted === "services.loadbalancers") return plural === "services" && type === "LoadBalancer" ? 1 : 0;
    if (counted === "services.nodeports") {
      const ports = (object as { readonly spec?: { readonly ports?: readonly unknown[] } }).spec?.ports ?? [];
      return plural === "services" && (type === "NodePort" || type === "LoadBalancer") ? ports.length : 0;
    }
    return counted === (group === "" ? plural : `${plural}.${group}`) ? 1 : 0;
  }
  if (plural !== "pods" || group !== "") return 0;
  const [list, what] = /^(limits|requests)\.(.+)$/.exec(name)?.slice(1) ?? ["requests", name];
  return podUse(object as Pod, list as "limits" | "requests", what ?? "");
}

function podUse({ spec, status }: Pod, list: "limits" | "requests", what: string): number {
  if (status?.phase === "Succeeded" || status?.phase === "Failed") return 0;
  const of = (container: Container) => {
    const resources = (container.resources ?? {}) as Readonly<Record<string, Readonly<Record<string, string>> | undefined>>;
    return quantityOf(resources[list]?.[what] ?? (list === "requests" ? resources.limits?.[what] : undefined)) || 0;
  };
  const running = spec.containers.reduce((sum, container) => sum + of(container), 0);
  return Math.max(running, ...(spec.initContainers ?? []).map(of));
}

/** Which kinds a name of a quota counts. */
function countedRef(name: string): ResourceRef {
  const counted = name.startsWith("count/") ? name.slice(6) : COUNTED.has(name) ? name.replace(/^(services)\..*/, "$1") : "pods";
  const dot = counted.indexOf(".");
  return dot < 0
    ? { group: "", version: "v1", plural: counted }
    : { group: counted.slice(dot + 1), version: "v1", plural: counted.slice(0, dot) };
}

/** What a namespace uses of a quota's name now. */
export function usedOf(store: Reader, namespace: string, name: string): number {
  const ref = countedRef(name);
  try {
    return store.list(ref, { namespace }).items.reduce((sum, object) => sum + useOf(name, ref, object), 0);
  } catch {
    // A kind that is not served is not used.
    return 0;
  }
}

const show = (value: number) => String(Math.round(value * 1e6) / 1e6);

/** Refuses what would be more than a quota of its namespace allows. */
export const quotaAdmission: AdmissionHook = {
  name: "resource-quota",
  appliesTo: (resource, operation) => resource.namespaced && operation === "create",
  validate(object, { store, resource }) {
    const { namespace = "", name } = object.metadata;
    for (const quota of store.list<Quota>(QUOTAS, { namespace }).items) {
      const over: string[] = [];
      const asked: Record<"requested" | "used" | "limited", string[]> = { requested: [], used: [], limited: [] };
      for (const [what, hard] of Object.entries(quota.spec?.hard ?? {})) {
        const more = useOf(what, resource, object);
        if (more === 0) continue;
        const used = usedOf(store, namespace, what);
        if (used + more <= quantityOf(hard)) continue;
        over.push(what);
        asked.requested.push(`${what}=${show(more)}`);
        asked.used.push(`${what}=${show(used)}`);
        asked.limited.push(`${what}=${hard}`);
      }
      if (over.length > 0) {
        const { requested, used, limited } = asked;
        throw forbidden(
          resource,
          name,
          `exceeded quota: ${quota.metadata.name}, requested: ${requested}, used: ${used}, limited: ${limited}`,
        );
      }
    }
  },
};
