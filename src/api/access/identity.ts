// Who asks, and for what: the subjects and the attributes of a request.

export interface Identity {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** What a request wants to do: with objects, or with another path of the server. */
export type Attributes =
  | {
      readonly verb: string;
      readonly group: string;
      readonly resource: string;
      readonly subresource?: string;
      readonly namespace?: string;
      readonly name?: string;
    }
  | { readonly verb: string; readonly path: string };

export const ADMINISTRATORS = "system:masters";
const AUTHENTICATED = "system:authenticated";
export const SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:";

/** A subject that proved who it is. */
export function authenticated(name: string, groups: readonly string[], more: Pick<Identity, "uid" | "extra"> = {}): Identity {
  return { name, groups: [...new Set([...groups, AUTHENTICATED])], ...more };
}

export function serviceAccountIdentity(namespace: string, name: string, more: Pick<Identity, "uid" | "extra"> = {}): Identity {
  const groups = ["system:serviceaccounts", `system:serviceaccounts:${namespace}`];
  return authenticated(`${SERVICE_ACCOUNT_PREFIX}${namespace}:${name}`, groups, more);
}

/** "services/proxy" */
export function resourceName({ resource, subresource }: { readonly resource: string; readonly subresource?: string }): string {
  return subresource === undefined ? resource : `${resource}/${subresource}`;
}

/** How a refusal names what was asked, word for word as API servers do. */
export function sayForbidden(identity: Identity, asked: Attributes): string {
  const user = `User "${identity.name}" cannot ${asked.verb}`;
  if ("path" in asked) return `forbidden: ${user} path "${asked.path}"`;
  const { group, namespace, name = "" } = asked;
  const what = group === "" ? asked.resource : `${asked.resource}.${group}`;
  const where = namespace === undefined ? " at the cluster scope" : ` in the namespace "${namespace}"`;
  return `${what}${name === "" ? "" : ` "${name}"`} is forbidden: ${user} resource "${resourceName(asked)}" in API group "${group}"${where}`;
}
