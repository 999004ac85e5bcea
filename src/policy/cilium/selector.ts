// Cilium's end point selectors: label selectors whose keys may name where a label comes from ("k8s:", "any:", "reserved:").
import type { Place } from "../calico/place.ts";
import type { EndPeer, EntityPeer, LabelMatch, LabelTest, Selection } from "../rules.ts";

const FIELDS = ["matchLabels", "matchExpressions"];
const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"];
const NAMESPACE = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels.";
/** What no end of a cluster without Cilium's own agents is. */
const NOBODY_HERE = ["health", "ingress", "init", "unmanaged", "unknown", "none"];
const ENTITIES = ["all", "cluster", "world", "host", "remote-node", "kube-apiserver"] as const;

interface Condition {
  /** "reserved" for what is no label of a pod; undefined for a source that no end point has labels from. */
  readonly source: "k8s" | "reserved" | undefined;
  readonly key: string;
  readonly operator: string;
  readonly values: readonly string[];
}

/** A label's key without the word for where it comes from. */
function readKey(text: string): Pick<Condition, "source" | "key"> {
  const colon = text.indexOf(":");
  if (colon < 0) return { source: "k8s", key: text };
  const [word, key] = [text.slice(0, colon), text.slice(colon + 1)];
  if (word === "k8s" || word === "any") return { source: "k8s", key };
  return { source: word === "reserved" ? "reserved" : undefined, key };
}

/** Every condition of a selector, of which all must hold; undefined (and a remark) where it can't be read. */
function readConditions(place: Place): readonly Condition[] | undefined {
  const fields = place.object(FIELDS);
  const { matchLabels } = fields;
  const conditions: Condition[] = [];
  // A field's name with a slip in it must not make a selector of everything.
  let wrong = typeof place.value !== "object" || place.value === null || Object.keys(fields).some((field) => !FIELDS.includes(field));
  const say = (at: Place, says: string) => {
    wrong = true;
    at.wrong(says);
  };
  const labels = place.at("matchLabels");
  if (labels.given && (typeof matchLabels !== "object" || Array.isArray(matchLabels))) say(labels, "it is no object");
  else
    for (const [text, value] of Object.entries((matchLabels ?? {}) as object)) {
      if (typeof value !== "string") say(labels.at(text), `${JSON.stringify(value)} is no text`);
      else conditions.push({ ...readKey(text), operator: "In", values: [value] });
    }
  for (const item of place.at("matchExpressions").items()) {
    const { key, operator, values } = item.object(["key", "operator", "values"]);
    const list = item.at("values").texts();
    const takesValues = operator === "In" || operator === "NotIn";
    if (typeof key !== "string" || key === "") say(item.at("key"), "an expression has a key");
    else if (typeof operator !== "string" || !OPERATORS.includes(operator))
      say(item.at("operator"), `${JSON.stringify(operator)} is no operator: ${OPERATORS.join(", ")}`);
    else if (takesValues !== list.length > 0)
      say(
        item.at("values"),
        takesValues ? `${operator} needs values` : `${operator} takes no values, and these are ${JSON.stringify(values)}`,
      );
    else conditions.push({ ...readKey(key), operator, values: list.toSorted() });
  }
  return wrong ? undefined : conditions;
}

function testOf({ key, operator, values }: Pick<Condition, "key" | "operator" | "values">): LabelTest {
  const test: LabelTest = operator === "In" || operator === "NotIn" ? { op: "in", key, values } : { op: "exists", key };
  return operator === "NotIn" || operator === "DoesNotExist" ? { op: "not", of: test } : test;
}

/** Labels from a source that no end point has are absent. */
function isAbsentAndShould({ operator }: Condition): boolean {
  return operator === "NotIn" || operator === "DoesNotExist";
}

function matchOf(conditions: readonly Condition[]): LabelMatch {
  return { test: { op: "all", of: conditions.map(testOf) } };
}

/** Pods by their labels; what the selector says of namespaces is taken out, so that indexes can answer it. */
function selectionOf(conditions: readonly Condition[], namespace: string | undefined): Selection | undefined {
  const labels: Condition[] = [];
  const ofNamespaces: Condition[] = [];
  let within = namespace;
  for (const condition of conditions) {
    const { source, key } = condition;
    if (source !== "k8s") {
      if (!isAbsentAndShould(condition)) return undefined;
    } else if (key.startsWith(NAMESPACE_LABELS)) {
      within = undefined;
      ofNamespaces.push({ ...condition, key: key.slice(NAMESPACE_LABELS.length) });
    } else labels.push(condition);
    if (source === "k8s" && key === NAMESPACE) within = undefined;
  }
  const named = labels.find(({ key, operator, values }) => key === NAMESPACE && operator === "In" && values.length === 1);
  if (named) within = named.values[0];
  const rest = labels.filter((condition) => condition !== named);
  return {
    view: "cilium",
    ...(within === undefined ? {} : { namespace: within }),
    ...(ofNamespaces.length > 0 ? { namespaceSelector: matchOf(ofNamespaces) } : {}),
    labels: matchOf(rest),
  };
}

/**
 * Whom a selector means as a peer: pods, or an entity where it names a reserved label. A policy of a namespace means its own
 * namespace unless the selector speaks of namespaces. "nobody": nobody here; undefined: it can't be read.
 */
export function readPeer(place: Place, namespace: string | undefined): EndPeer | EntityPeer | "nobody" | undefined {
  const conditions = readConditions(place);
  if (!conditions) return undefined;
  const reserved = conditions.filter(({ source, operator }) => source === "reserved" && (operator === "In" || operator === "Exists"));
  if (reserved.length > 0) {
    const [first] = reserved;
    if (!first || conditions.length > 1) return "nobody";
    return readEntity(place, first.key);
  }
  const selection = selectionOf(conditions, namespace);
  return selection ? { kind: "ends", ...selection } : "nobody";
}

/** Whom a policy is about: pods of its namespace, or of all. undefined: it can't be read, or means nobody that is here. */
export function readSubject(place: Place, namespace: string | undefined): Selection | "nobody" | undefined {
  const conditions = readConditions(place);
  if (!conditions) return undefined;
  const selection = selectionOf(conditions, namespace);
  if (!selection || (namespace !== undefined && selection.namespace !== undefined && selection.namespace !== namespace)) return "nobody";
  // A policy never leaves its namespace.
  return namespace === undefined ? selection : { ...selection, namespace };
}

/** Nodes by their labels. */
export function readNodes(place: Place): Selection | undefined {
  const conditions = readConditions(place);
  if (!conditions) return undefined;
  const own = conditions.filter((condition) => condition.source === "k8s");
  const impossible = conditions.some((condition) => condition.source !== "k8s" && !isAbsentAndShould(condition));
  return { kinds: ["node"], labels: impossible ? { test: { op: "any", of: [] } } : matchOf(own) };
}

/** CIDR groups by their labels. */
export function readGroups(place: Place): Selection | undefined {
  const conditions = readConditions(place);
  return conditions && { kinds: ["group"], labels: matchOf(conditions) };
}

/** Objects by plain labels (Services). */
export function readLabels(place: Place): LabelMatch | undefined {
  const conditions = readConditions(place);
  return conditions && matchOf(conditions);
}

/** "nobody" for what does not occur where no agent of Cilium's runs. */
export function readEntity(place: Place, text: string): EntityPeer | "nobody" | undefined {
  const entity = ENTITIES.find((each) => each === text);
  if (entity) return { kind: "entity", entity };
  if (NOBODY_HERE.includes(text)) return "nobody";
  return place.wrong(`${JSON.stringify(text)} is no entity: ${[...ENTITIES, "world-ipv4", "world-ipv6", ...NOBODY_HERE].join(", ")}`);
}
