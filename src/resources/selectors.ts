// Label selectors: the object form, compiled to a test.
import type { LabelSelector } from "./types.ts";

type Labels = Readonly<Record<string, string>>;

/** A test for labels. An empty selector selects everything; NotIn and DoesNotExist are true where the label is absent. */
export function compileSelector(selector: LabelSelector): (labels: Labels) => boolean {
  const tests: ((labels: Labels) => boolean)[] = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]) =>
      (labels) =>
        labels[key] === value,
  );
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const listed = new Set(values);
    const value = (labels: Labels) => (Object.hasOwn(labels, key) ? labels[key] : undefined);
    if (operator === "In") tests.push((labels) => listed.has(value(labels) ?? "\u0000"));
    else if (operator === "NotIn") tests.push((labels) => !listed.has(value(labels) ?? "\u0000"));
    else if (operator === "Exists") tests.push((labels) => Object.hasOwn(labels, key));
    else tests.push((labels) => !Object.hasOwn(labels, key));
  }
  return (labels) => tests.every((test) => test(labels));
}
