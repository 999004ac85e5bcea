// CustomResourceDefinition → a kind that the API serves, with its schema, columns, status and scale.
import type { KubeObject } from "../../resources/index.ts";
import { builtinResources, customResource, type PrinterColumn, type Resource, type ResourceTable } from "../resource-table.ts";
import { unreadableRules } from "../schema/rules.ts";
import type { Schema } from "../schema/structural.ts";
import type { ResourceRef } from "../store.ts";
import { type Controller, type ControllerContext, REF } from "./context.ts";
import { createQueue } from "./queue.ts";

interface Definition extends KubeObject {
  readonly spec?: {
    readonly group?: string;
    readonly scope?: string;
    readonly names?: {
      readonly plural?: string;
      readonly singular?: string;
      readonly kind?: string;
      readonly shortNames?: string[];
      readonly categories?: string[];
    };
    readonly versions?: readonly {
      readonly name?: string;
      readonly served?: boolean;
      readonly schema?: { readonly openAPIV3Schema?: Schema };
      readonly additionalPrinterColumns?: readonly PrinterColumn[];
      readonly subresources?: {
        readonly status?: object;
        readonly scale?: { readonly specReplicasPath?: string; readonly statusReplicasPath?: string; readonly labelSelectorPath?: string };
      };
    }[];
  };
  readonly status?: { readonly conditions?: readonly { readonly type: string }[] };
}

/** Adds the kinds of a definition to the table, and takes away what it served before and does not any more. */
export function customKindController(context: ControllerContext, resources: ResourceTable): Controller {
  const served = new Map<string, readonly ResourceRef[]>();
  const queue = createQueue("customkinds", (name) => establish(name), context.log);

  /** Says in its status that the definition is in force, for those who wait for that. */
  function establish(name: string): void {
    const definition = context.store.get<Definition>(REF.customResourceDefinitions, undefined, name);
    if (!definition || definition.status?.conditions?.some((condition) => condition.type === "Established")) return;
    const condition = (type: string, reason: string) => ({ type, status: "True", reason, lastTransitionTime: context.now() });
    const { names = {}, versions = [] } = definition.spec ?? {};
    const unread = versions.flatMap(({ schema }) => unreadableRules(schema?.openAPIV3Schema));
    const status = {
      acceptedNames: names,
      storedVersions: versions.map((version) => version.name),
      conditions: [
        condition("NamesAccepted", "NoConflicts"),
        condition("Established", "InitialNamesAccepted"),
        ...(unread.length > 0
          ? [
              {
                ...condition("RulesNotAsked", "ExpressionNotUnderstood"),
                message: `these validation rules are not asked here: ${unread.join("; ")}`,
              },
            ]
          : []),
      ],
    };
    context.store.update(REF.customResourceDefinitions, { ...definition, status } as Definition, { subresource: "status" });
  }

  context.watch(REF.customResourceDefinitions, ({ type, object }) => {
    if (type === "BOOKMARK") return;
    const kinds = type === "DELETED" ? [] : kindsOf(object as Definition);
    for (const kind of kinds) resources.add(kind);
    const keep = new Set(kinds.map((kind) => kind.version));
    for (const old of served.get(object.metadata.name) ?? []) if (!keep.has(old.version) && !isBuiltin(old)) resources.remove(old);
    served.set(object.metadata.name, kinds);
    if (type !== "DELETED") queue.add(object.metadata.name);
  });
  return queue;
}

/** Some custom kinds are served without their definition. */
function isBuiltin(ref: ResourceRef): boolean {
  return builtinResources.some((each) => each.group === ref.group && each.version === ref.version && each.plural === ref.plural);
}

function kindsOf({ spec }: Definition) {
  const { group = "", names, scope } = spec ?? {};
  const { plural, kind } = names ?? {};
  if (!plural || !kind) return [];
  return (spec?.versions ?? []).flatMap((version) =>
    version.name === undefined || version.served === false
      ? []
      : [
          customResource(
            {
              group,
              version: version.name,
              plural,
              kind,
              shortNames: names?.shortNames ?? [],
              namespaced: scope !== "Cluster",
              builtin: false,
            },
            {
              status: version.subresources?.status !== undefined,
              ...(version.schema?.openAPIV3Schema ? { schema: version.schema.openAPIV3Schema } : {}),
              ...(version.additionalPrinterColumns ? { columns: version.additionalPrinterColumns } : {}),
              ...(names?.categories ? { categories: names.categories } : {}),
              ...scaleOf(version.subresources?.scale),
            },
          ),
        ],
  );
}

function scaleOf(
  scale: { readonly specReplicasPath?: string; readonly statusReplicasPath?: string; readonly labelSelectorPath?: string } | undefined,
): Pick<Resource, "scalePaths"> {
  if (!scale?.specReplicasPath) return {};
  const { specReplicasPath: spec, statusReplicasPath: status = ".status.replicas", labelSelectorPath: selector } = scale;
  return { scalePaths: { spec, status, ...(selector === undefined ? {} : { selector }) } };
}
