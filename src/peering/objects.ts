// Calico's objects about BGP as they are written: found in the snapshot, and their fields read without trusting them.
import type { ClusterSnapshot } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";

export type Fields = Readonly<Record<string, unknown>>;

export interface BgpObject {
  readonly kind: string;
  readonly name: string;
  readonly spec: Fields;
  readonly annotations: Readonly<Record<string, string>>;
}

const GROUPS = ["projectcalico.org/v3", "crd.projectcalico.org/v1"];

/** All objects of a kind of Calico's, in order of name; where both its API and its store have one, the API's. */
export function objectsOfKind(snapshot: ClusterSnapshot, kind: string): BgpObject[] {
  const found = new Map<string, BgpObject>();
  for (const group of GROUPS) {
    for (const object of snapshot.others.get(`${group}/${kind}`)?.values() ?? []) {
      const { name, annotations = {} } = object.metadata;
      const { spec } = object as KubeObject & { readonly spec?: unknown };
      if (!found.has(name)) found.set(name, { kind, name, spec: fieldsOf(spec), annotations });
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

export function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

export function numberOf(value: unknown, least: number, most: number): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most ? value : undefined;
}

/** An AS number: 64512, "64512" or "1.10" (RFC 5396). */
export function asNumberOf(value: unknown): number | undefined {
  const most = 0xffffffff;
  if (typeof value === "number") return numberOf(value, 1, most);
  if (typeof value !== "string") return undefined;
  const [, high, low] = /^(?:(\d{1,5})\.)?(\d{1,10})$/.exec(value.trim()) ?? [];
  if (low === undefined) return undefined;
  if (high === undefined) return numberOf(Number(low), 1, most);
  return Number(high) <= 0xffff && Number(low) <= 0xffff ? numberOf(Number(high) * 65536 + Number(low), 1, most) : undefined;
}

const UNITS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 0.001 };

/** A duration such as "1m30s", in seconds. */
export function secondsOf(value: unknown): number | undefined {
  if (typeof value !== "string" || !/^(\d+(\.\d+)?(h|ms|m|s))+$/.test(value)) return undefined;
  let seconds = 0;
  for (const [, number, , unit = "s"] of value.matchAll(/(\d+(\.\d+)?)(h|ms|m|s)/g)) seconds += Number(number) * (UNITS[unit] ?? 1);
  return seconds;
}

/** A remark for each field that is set and not among those that are followed. */
export function unknownFields({ kind, name, spec }: BgpObject, known: Readonly<Record<string, string | true>>): string[] {
  return Object.keys(spec).flatMap((field) => {
    const what = Object.hasOwn(known, field) ? known[field] : "is not known";
    return what === true ? [] : [`${kind} ${name}: ${field} ${what}, and ignored`];
  });
}
