// Conditions on labels: from Kubernetes selectors to tests, and the tests' answer.
import { keyFault, type LabelSelector, labelValueFault } from "../resources/index.ts";
import type { LabelMatch, LabelTest } from "./rules.ts";

export type Labels = Readonly<Record<string, string>>;

/** Whether the labels meet the condition. */
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
      const value = labelValue(labels, test.key);
      return value !== undefined && test.values.includes(value);
    }
    case "contains":
      return labelValue(labels, test.key)?.includes(test.value) ?? false;
    case "starts":
      return labelValue(labels, test.key)?.startsWith(test.value) ?? false;
    case "ends":
      return labelValue(labels, test.key)?.endsWith(test.value) ?? false;
  }
}

function labelValue(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** The first field that is not among the known ones; undefined if there is none, or this is no object. */
export function unknownField(value: unknown, known: readonly string[]): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.keys(value).find((field) => !known.includes(field));
}

/** Compiles a Kubernetes label selector; a text says what is wrong with it. NotIn and DoesNotExist are true where the label is absent. */
export function readLabelSelector(selector: LabelSelector): LabelMatch | { readonly wrong: string } {
  if (typeof selector !== "object" || selector === null || Array.isArray(selector)) return { wrong: "a label selector is an object" };
  const unknown = unknownField(selector, ["matchLabels", "matchExpressions"]);
  if (unknown !== undefined) return { wrong: `${unknown} is no field of a label selector: matchLabels, matchExpressions` };
  const { matchLabels, matchExpressions } = selector as { readonly matchLabels?: unknown; readonly matchExpressions?: unknown };
  const of: LabelTest[] = [];
  if (typeof (matchLabels ?? {}) !== "object" || Array.isArray(matchLabels)) return { wrong: "matchLabels is no object" };
  for (const [key, value] of Object.entries(matchLabels ?? {})) {
    const fault = keyFault(key) ?? (typeof value === "string" ? labelValueFault(value) : "is not text");
    if (fault !== undefined) return { wrong: `matchLabels.${key} ${fault}` };
    of.push({ op: "in", key, values: [value] });
  }
  if (!Array.isArray(matchExpressions ?? [])) return { wrong: "matchExpressions is no list" };
  for (const expression of (matchExpressions ?? []) as readonly (Partial<
    NonNullable<LabelSelector["matchExpressions"]>[number]
  > | null)[]) {
    const { key, operator } = expression ?? {};
    const values: readonly unknown[] = Array.isArray(expression?.values) ? expression.values : [];
    if (typeof key !== "string" || key === "") return { wrong: "an expression has no key" };
    const fault =
      keyFault(key) ?? values.map((value) => (typeof value === "string" ? labelValueFault(value) : "is not text")).find(Boolean);
    if (fault !== undefined) return { wrong: `the expression for ${key} ${fault}` };
    const takesValues = operator === "In" || operator === "NotIn";
    if (takesValues && values.length === 0) return { wrong: `${operator} for ${key} needs values` };
    if (!takesValues && values.length > 0) return { wrong: `${operator} for ${key} takes no values` };
    if (operator === "In") of.push({ op: "in", key, values: ([...values] as string[]).sort() });
    else if (operator === "NotIn") of.push({ op: "not", of: { op: "in", key, values: ([...values] as string[]).sort() } });
    else if (operator === "Exists") of.push({ op: "exists", key });
    else if (operator === "DoesNotExist") of.push({ op: "not", of: { op: "exists", key } });
    else return { wrong: `${JSON.stringify(operator)} is no operator: In, NotIn, Exists, DoesNotExist` };
  }
  return { test: { op: "all", of } };
}

export const ALL_LABELS: LabelMatch = { test: { op: "all", of: [] } };
export const NO_LABELS: LabelMatch = { test: { op: "any", of: [] } };

export function isAll(match: LabelMatch): boolean {
  return match.test.op === "all" && match.test.of.length === 0;
}

const keys = new WeakMap<LabelTest, string>();

/** One canonical text per meaning, as far as order goes: names shared sets. */
export function formatTest(test: LabelTest): string {
  let key = keys.get(test);
  if (key === undefined) {
    key = writeTest(test);
    keys.set(test, key);
  }
  return key;
}

function writeTest(test: LabelTest): string {
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
    case "contains":
    case "starts":
    case "ends":
      return `${test.key} ${test.op} ${JSON.stringify(test.value)}`;
  }
}

/** The condition as its author wrote it, or in one way for all. */
export function sayLabels(match: LabelMatch): string {
  return match.says ?? formatTest(match.test);
}

/**
 * Labels ("key=value") of which whoever meets the condition has one; undefined where it can't be told, or where there are many.
 * Keys that only a language's view adds are passed over.
 */
export function neededLabels(test: LabelTest): readonly string[] | undefined {
  if (test.op === "in")
    return isOwnKey(test.key) && test.values.length <= 16 ? test.values.map((value) => `${test.key}=${value}`) : undefined;
  if (test.op === "any") {
    const parts = test.of.map(neededLabels);
    if (parts.includes(undefined)) return undefined;
    const all = parts.flatMap((part) => part ?? []);
    return all.length <= 16 ? all : undefined;
  }
  if (test.op !== "all") return undefined;
  let best: readonly string[] | undefined;
  for (const part of test.of) {
    const labels = neededLabels(part);
    if (labels && (!best || labels.length < best.length)) best = labels;
  }
  return best;
}

/** Whether a key stands in an object's own labels if anywhere. */
function isOwnKey(key: string): boolean {
  return !/^(pcns\.|pcsa\.|projectcalico\.org\/|io\.kubernetes\.pod\.|io\.cilium\.k8s\.)/.test(key);
}
