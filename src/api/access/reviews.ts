// The kinds that only ask: may somebody do something, what may I do, who am I, whose token is this. Nothing of them is stored.
import { badRequest } from "../errors.ts";
import { isMap } from "../patch/merge-patch.ts";
import type { ObjectStore } from "../store.ts";
import type { Attributes, Identity } from "./identity.ts";
import { rulesFor, whyAllowed } from "./rbac.ts";
import type { Tokens } from "./tokens.ts";

export interface ReviewCall {
  readonly store: Pick<ObjectStore, "get" | "list">;
  readonly tokens: Tokens;
  readonly identity: Identity;
  /** Of the path, for LocalSubjectAccessReview. */
  readonly namespace: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

type Fields = Readonly<Record<string, unknown>>;

const fieldsOf = (value: unknown): Fields => (isMap(value) ? value : {});
const textOf = (value: unknown): string | undefined => (typeof value === "string" && value !== "" ? value : undefined);
const textsOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(String) : []);

function attributesOf(spec: Fields, namespace?: string): Attributes {
  if (isMap(spec.nonResourceAttributes)) {
    const { verb, path } = spec.nonResourceAttributes;
    return { verb: String(verb ?? ""), path: String(path ?? "") };
  }
  if (!isMap(spec.resourceAttributes)) throw badRequest("spec must name resourceAttributes or nonResourceAttributes");
  const { verb, group, resource } = spec.resourceAttributes;
  const given = spec.resourceAttributes;
  const place = namespace ?? textOf(given.namespace);
  const [subresource, name] = [textOf(given.subresource), textOf(given.name)];
  return {
    verb: String(verb ?? ""),
    group: String(group ?? ""),
    resource: String(resource ?? ""),
    ...(place === undefined ? {} : { namespace: place }),
    ...(subresource === undefined ? {} : { subresource }),
    ...(name === undefined ? {} : { name }),
  };
}

function accessReview(call: ReviewCall, identity: Identity, namespace?: string): object {
  const reason = whyAllowed(call.store, identity, attributesOf(fieldsOf(call.body.spec), namespace));
  return { ...call.body, status: reason === undefined ? { allowed: false } : { allowed: true, reason } };
}

function subjectReview(call: ReviewCall, namespace?: string): object {
  const spec = fieldsOf(call.body.spec);
  const user = textOf(spec.user);
  if (user === undefined && textsOf(spec.groups).length === 0) throw badRequest("spec must name a user or groups");
  return accessReview(call, { name: user ?? "", groups: textsOf(spec.groups) }, namespace);
}

function rulesReview(call: ReviewCall): object {
  const namespace = textOf(fieldsOf(call.body.spec).namespace) ?? "default";
  const rules = [...rulesFor(call.store, call.identity, namespace)].map(({ rule }) => rule);
  const everything = call.identity.groups.includes("system:masters");
  const resourceRules = everything
    ? [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }]
    : rules.filter(({ resources }) => resources?.length);
  const nonResourceRules = everything
    ? [{ verbs: ["*"], nonResourceURLs: ["*"] }]
    : rules.filter(({ nonResourceURLs }) => nonResourceURLs?.length);
  return { ...call.body, status: { resourceRules, nonResourceRules, incomplete: false } };
}

function userInfo({ name, groups, uid, extra }: Identity): object {
  return { username: name, groups, ...(uid === undefined ? {} : { uid }), ...(extra === undefined ? {} : { extra }) };
}

function tokenReview(call: ReviewCall): object {
  const { token, audiences } = fieldsOf(call.body.spec);
  const asked = textsOf(audiences);
  const found = call.tokens.check(String(token ?? ""), ...(asked.length > 0 ? [asked] : []));
  const status = found ? { authenticated: true, user: userInfo(found) } : { authenticated: false, error: "the token is not valid" };
  return { ...call.body, status };
}

/** By "group/plural". */
export const REVIEWS: Readonly<Record<string, (call: ReviewCall) => object>> = {
  "authorization.k8s.io/selfsubjectaccessreviews": (call) => accessReview(call, call.identity),
  "authorization.k8s.io/subjectaccessreviews": (call) => subjectReview(call),
  "authorization.k8s.io/localsubjectaccessreviews": (call) => subjectReview(call, call.namespace),
  "authorization.k8s.io/selfsubjectrulesreviews": rulesReview,
  "authentication.k8s.io/tokenreviews": tokenReview,
  "authentication.k8s.io/selfsubjectreviews": (call) => ({ ...call.body, status: { userInfo: userInfo(call.identity) } }),
};
