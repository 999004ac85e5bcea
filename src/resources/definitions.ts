// CustomResourceDefinitions of the kinds that Fairlead knows and other clusters may lack.
//
// Their schemas are open: what is stored is what was applied, and Fairlead judges what it reads itself.
import { KINDS, type KindInfo } from "./kinds.ts";
import type { KubeObject } from "./types.ts";

/** apiextensions.k8s.io/v1, CustomResourceDefinition. */
export interface CustomResourceDefinition extends KubeObject {
  readonly kind: "CustomResourceDefinition";
  readonly spec: {
    readonly group: string;
    readonly scope: "Cluster" | "Namespaced";
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames: readonly string[];
    };
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly storage: boolean;
      readonly [more: string]: unknown;
    }[];
  };
}

/** Groups of Kubernetes' own projects that a cluster has only by definitions. */
const DEFINED_GROUPS: ReadonlySet<string> = new Set(["policy.networking.k8s.io"]);
/** A definition in one of Kubernetes' own groups must say who approved it (KEP-1111). */
const UNAPPROVED = { "api-approved.kubernetes.io": "unapproved, with an open schema: replace it by the project's own definition" };

/** The definitions of the kinds that `wanted` says yes to, each with all its known versions; the first is stored. */
export function definitionsOf(wanted: (kind: KindInfo) => boolean): CustomResourceDefinition[] {
  const custom = KINDS.filter((info) => !info.builtin || DEFINED_GROUPS.has(info.group));
  const byName = Map.groupBy(custom, ({ group, plural }) => `${plural}.${group}`);
  return [...byName].filter(([, versions]) => versions.some(wanted)).map(([name, versions]) => definitionOf(name, versions));
}

function definitionOf(name: string, versions: readonly KindInfo[]): CustomResourceDefinition {
  const [{ group, kind, plural, shortNames, namespaced }] = versions as [KindInfo];
  const isProtected = /(^|\.)(k8s|kubernetes)\.io$/.test(group);
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name, ...(isProtected ? { annotations: UNAPPROVED } : {}) },
    spec: {
      group,
      scope: namespaced ? "Namespaced" : "Cluster",
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), shortNames },
      versions: versions.map(({ version }, index) => ({
        name: version,
        served: true,
        storage: index === 0,
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
        subresources: { status: {} },
      })),
    },
  };
}
