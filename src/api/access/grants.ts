// Nobody gives away more than they have: roles and bindings that are written by those who are no administrators.
import type { KubeObject } from "../../resources/index.ts";
import { ApiError } from "../errors.ts";
import type { Resource } from "../resource-table.ts";
import type { ObjectStore } from "../store.ts";
import type { Identity } from "./identity.ts";
import { missingRights, type PolicyRule, RBAC, whyAllowed } from "./rbac.ts";

interface Call {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly identity: Identity;
}

/** @throws ApiError 403 where the writer lacks what the object would give (and may neither escalate nor bind) */
export function checkGrants({ store, resource, namespace, identity }: Call, object: KubeObject): void {
  const { group, plural } = resource;
  if (group !== RBAC.roles.group) return;
  const { rules, roleRef } = object as {
    readonly rules?: readonly PolicyRule[];
    readonly roleRef?: { readonly kind?: string; readonly name?: string };
  };
  const isRole = plural === "roles" || plural === "clusterroles";
  const of = roleRef?.kind === "Role" ? RBAC.roles : RBAC.clusterRoles;
  const given = isRole
    ? rules
    : (store.get(of, namespace, roleRef?.name ?? "") as { readonly rules?: readonly PolicyRule[] } | undefined)?.rules;
  const missing = missingRights(store, identity, given ?? [], namespace);
  if (missing.length === 0) return;
  const place = namespace === undefined ? {} : { namespace };
  const exempt = isRole
    ? { verb: "escalate", group, resource: plural, ...place, name: object.metadata.name }
    : { verb: "bind", group, resource: of.plural, ...place, name: roleRef?.name ?? "" };
  if (whyAllowed(store, identity, exempt) !== undefined) return;
  throw new ApiError(
    "Forbidden",
    `${plural}.${group} "${object.metadata.name}" is forbidden: user "${identity.name}" is attempting to grant RBAC permissions not currently held: ${missing.join(", ")}`,
    { name: object.metadata.name, group, kind: plural },
  );
}
