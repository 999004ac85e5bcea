// Role-based access control: which rules a subject has, and whether one of them lets a request through (rbac.authorization.k8s.io/v1).
import type { KubeObject } from "../../resources/index.ts";
import type { ObjectStore } from "../store.ts";
import { ADMINISTRATORS, type Attributes, type Identity, resourceName, SERVICE_ACCOUNT_PREFIX } from "./identity.ts";

export interface PolicyRule {
  readonly verbs?: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

interface Role extends KubeObject {
  readonly rules?: readonly PolicyRule[] | null;
}

interface Binding extends KubeObject {
  readonly roleRef?: { readonly kind?: string; readonly name?: string };
  readonly subjects?: readonly { readonly kind?: string; readonly name?: string; readonly namespace?: string }[] | null;
}

const rbac = (plural: string) => ({ group: "rbac.authorization.k8s.io", version: "v1", plural });
export const RBAC = {
  roles: rbac("roles"),
  roleBindings: rbac("rolebindings"),
  clusterRoles: rbac("clusterroles"),
  clusterRoleBindings: rbac("clusterrolebindings"),
} as const;

export interface GrantedRule {
  readonly rule: PolicyRule;
  /** Why: the binding and the role, in words. */
  readonly because: string;
}

type Reader = Pick<ObjectStore, "get" | "list">;

function binds(binding: Binding, identity: Identity, namespace: string | undefined): boolean {
  return (binding.subjects ?? []).some(({ kind, name, namespace: own }) => {
    if (kind === "User") return name === identity.name;
    if (kind === "Group") return identity.groups.includes(name ?? "");
    return kind === "ServiceAccount" && `${SERVICE_ACCOUNT_PREFIX}${own ?? namespace ?? ""}:${name}` === identity.name;
  });
}

/** The rules that a subject has in a namespace (undefined: at the cluster's scope). */
export function* rulesFor(store: Reader, identity: Identity, namespace: string | undefined): Generator<GrantedRule> {
  for (const binding of store.list<Binding>(RBAC.clusterRoleBindings).items) {
    if (!binds(binding, identity, undefined)) continue;
    yield* granted(binding, store.get<Role>(RBAC.clusterRoles, undefined, binding.roleRef?.name ?? ""), "ClusterRoleBinding");
  }
  if (namespace === undefined) return;
  for (const binding of store.list<Binding>(RBAC.roleBindings, { namespace }).items) {
    if (!binds(binding, identity, namespace)) continue;
    const { kind, name = "" } = binding.roleRef ?? {};
    const role =
      kind === "ClusterRole" ? store.get<Role>(RBAC.clusterRoles, undefined, name) : store.get<Role>(RBAC.roles, namespace, name);
    yield* granted(binding, role, "RoleBinding");
  }
}

function* granted(binding: Binding, role: Role | undefined, kind: string): Generator<GrantedRule> {
  const { name, namespace } = binding.metadata;
  const because = `RBAC: allowed by ${kind} "${namespace === undefined ? name : `${name}/${namespace}`}" of ${role?.kind} "${role?.metadata.name}"`;
  for (const rule of role?.rules ?? []) yield { rule, because };
}

const has = (list: readonly string[] | undefined, value: string) => list?.includes("*") || list?.includes(value) || false;

/** Whether a rule lets a request through. */
function ruleAllows(rule: PolicyRule, asked: Attributes): boolean {
  if (!has(rule.verbs, asked.verb)) return false;
  if ("path" in asked)
    return (rule.nonResourceURLs ?? []).some(
      (url) => url === "*" || url === asked.path || (url.endsWith("*") && asked.path.startsWith(url.slice(0, -1))),
    );
  if (!has(rule.apiGroups, asked.group)) return false;
  const full = resourceName(asked);
  const named =
    has(rule.resources, full) || (asked.subresource !== undefined && (rule.resources?.includes(`*/${asked.subresource}`) ?? false));
  if (!named) return false;
  const names = rule.resourceNames ?? [];
  return names.length === 0 || names.includes(asked.name ?? "");
}

/** The reason why a subject may do what it asks for; undefined where nothing lets it. */
export function whyAllowed(store: Reader, identity: Identity, asked: Attributes): string | undefined {
  if (identity.groups.includes(ADMINISTRATORS)) return `member of ${ADMINISTRATORS}`;
  const namespace = "path" in asked ? undefined : asked.namespace;
  for (const { rule, because } of rulesFor(store, identity, namespace)) if (ruleAllows(rule, asked)) return because;
  return undefined;
}

/** The single permissions in a rule, for asking whether somebody has them all. */
function* permissions(rule: PolicyRule): Generator<Attributes> {
  for (const verb of rule.verbs ?? []) {
    for (const path of rule.nonResourceURLs ?? []) yield { verb, path };
    for (const group of rule.apiGroups ?? [])
      for (const whole of rule.resources ?? []) {
        const [resource = "", subresource] = whole.split("/");
        const names = rule.resourceNames?.length ? rule.resourceNames : [undefined];
        for (const name of names)
          yield { verb, group, resource, ...(subresource === undefined ? {} : { subresource }), ...(name === undefined ? {} : { name }) };
      }
  }
}

/** What of `rules` the subject does not have itself, in words: nobody gives away more than that. */
export function missingRights(store: Reader, identity: Identity, rules: readonly PolicyRule[], namespace: string | undefined): string[] {
  if (identity.groups.includes(ADMINISTRATORS)) return [];
  const own = [...rulesFor(store, identity, namespace)].map(({ rule }) => rule);
  const missing: string[] = [];
  for (const rule of rules)
    for (const wanted of permissions(rule))
      if (!own.some((mine) => covers(mine, wanted)))
        missing.push(
          "path" in wanted ? `${wanted.verb} ${wanted.path}` : `${wanted.verb} ${resourceName(wanted)}.${wanted.group || "core"}`,
        );
  return missing;
}

/** As ruleAllows, where "*" asked for is had only by who has "*". */
function covers(mine: PolicyRule, wanted: Attributes): boolean {
  return ruleAllows(mine, wanted);
}
