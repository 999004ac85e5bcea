// ClusterRoles whose rules are gathered from others, by label (aggregationRule).
import { isDeepStrictEqual } from "node:util";
import { compileSelector, type KubeObject, type LabelSelector } from "../../resources/index.ts";
import { type Controller, type ControllerContext, REF } from "./context.ts";
import { createQueue } from "./queue.ts";

interface ClusterRole extends KubeObject {
  readonly rules?: readonly object[] | null;
  readonly aggregationRule?: { readonly clusterRoleSelectors?: readonly LabelSelector[] };
}

/** Keeps the rules of gathering roles what their selectors find. */
export function roleController(context: ControllerContext): Controller {
  const queue = createQueue("roles", (name) => gather(name), context.log);

  function gather(name: string): void {
    const role = context.store.get<ClusterRole>(REF.clusterRoles, undefined, name);
    const selectors = role?.aggregationRule?.clusterRoleSelectors;
    if (!role || !selectors) return;
    const matches = selectors.map((selector) => compileSelector(selector));
    const rules: object[] = [];
    for (const other of context.store.list<ClusterRole>(REF.clusterRoles).items) {
      if (other.metadata.name === name || !matches.some((match) => match(other.metadata.labels ?? {}))) continue;
      for (const rule of other.rules ?? []) if (!rules.some((each) => isDeepStrictEqual(each, rule))) rules.push(rule);
    }
    if (!isDeepStrictEqual(rules, role.rules ?? [])) context.store.update(REF.clusterRoles, { ...role, rules } as ClusterRole);
  }

  context.watch(REF.clusterRoles, ({ type }) => {
    if (type === "BOOKMARK") return;
    for (const role of context.store.list<ClusterRole>(REF.clusterRoles).items) if (role.aggregationRule) queue.add(role.metadata.name);
  });
  return queue;
}
