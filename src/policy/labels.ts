// Conditions on labels: from Kubernetes selectors to tests, and the tests' answer.
import type { LabelSelector } from "../resources/index.ts";
import type { LabelMatch, LabelTest, PodSelection } from "./rules.ts";

export type Labels = Readonly<Record<string, string>>;

export function testLabels(test: LabelTest, labels: Labels): boolean {
  switch (test.op) {
    case "all":
      return test.of.every((part) => testLabels(part, labels));
    case "any":
      return test.of.some((part) => testLabels(part, labels));
    case "not":
      return !testLabels(test.of, labels);
    case "exists":
      return Object.hasOwn(labels, test.key);
    case "in": {
      const value = Object.hasOwn(labels, test.key) ? labels[test.key] : undefined;
      return value !== undefined && test.values.includes(value);
    }
  }
}

/** Compiles a Kubernetes label selector; a text says what is wrong with it. NotIn and DoesNotExist are true where the label is absent. */
export function readLabelSelector(selector: LabelSelector): LabelMatch | { readonly wrong: string } {
  if (typeof selector !== "object" || Array.isArray(selector)) return { wrong: "a label selector is an object" };
  const of: LabelTest[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (typeof value !== "string") return { wrong: `matchLabels.${key} is not text` };
    of.push({ op: "in", key, values: [value] });
  }
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    if (typeof key !== "string" || key === "") return { wrong: "an expression has no key" };
    const takesValues = operator === "In" || operator === "NotIn";
    if (takesValues && values.length === 0) return { wrong: `${operator} for ${key} needs values` };
    if (!takesValues && values.length > 0) return { wrong: `${operator} for ${key} takes no values` };
    if (operator === "In") of.push({ op: "in", key, values: [...values].sort() });
    else if (operator === "NotIn") of.push({ op: "not", of: { op: "in", key, values: [...values].sort() } });
    else if (operator === "Exists") of.push({ op: "exists", key });
    else if (operator === "DoesNotExist") of.push({ op: "not", of: { op: "exists", key } });
    else return { wrong: `${JSON.stringify(operator)} is no operator: In, NotIn, Exists, DoesNotExist` };
  }
  return { test: { op: "all", of }, selector };
}

export const ALL_LABELS: LabelMatch = { test: { op: "all", of: [] }, selector: {} };

/** One canonical text per meaning, as far as order goes: names shared sets. */
function formatTest(test: LabelTest): string {
  switch (test.op) {
    case "all":
    case "any":
      if (test.of.length === 0) return test.op === "all" ? "all()" : "!all()";
      return test.of
        .map(formatTest)
        .sort()
        .map((part) => (test.of.length > 1 ? `(${part})` : part))
        .join(test.op === "all" ? " && " : " || ");
    case "not":
      return `!(${formatTest(test.of)})`;
    case "exists":
      return `has(${test.key})`;
    case "in":
      return test.values.length === 1 ? `${test.key}=${test.values[0]}` : `${test.key} in {${test.values.join(",")}}`;
  }
}

/** "every pod of production", "pods with app=web of namespaces with team=a". */
export function describeSelection(selection: PodSelection): string {
  const every = isAll(selection.podSelector.test);
  const pods = every ? "every pod" : `pods with ${formatTest(selection.podSelector.test)}`;
  if (selection.namespaceSelector === undefined) return selection.namespace === undefined ? pods : `${pods} of ${selection.namespace}`;
  if (isAll(selection.namespaceSelector.test)) return `${pods} of every namespace`;
  return `${pods} of namespaces with ${formatTest(selection.namespaceSelector.test)}`;
}

/** The text that two selections share exactly if they are written alike. */
export function selectionKey(selection: PodSelection): string {
  const where =
    selection.namespaceSelector === undefined ? `=${selection.namespace ?? "*"}` : `~${formatTest(selection.namespaceSelector.test)}`;
  return JSON.stringify([where, formatTest(selection.podSelector.test)]);
}

function isAll(test: LabelTest): boolean {
  return test.op === "all" && test.of.length === 0;
}
