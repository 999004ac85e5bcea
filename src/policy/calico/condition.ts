// Calico's selectors as conditions of the rule model.
import type { LabelMatch, LabelTest } from "../rules.ts";
import { formatSelector, parseSelector, type Selector } from "./selector.ts";

/** Which labels a selector is about: the end points' own, or those of their namespaces or service accounts. */
export type About = "ends" | "namespaces" | "accounts";

/** The label by which a namespace or a service account is there at all. */
const NAME_LABEL = "projectcalico.org/name";

/** What a selector asks of labels. `global()` stands in a rule's namespaceSelector alone. */
export function readCondition(text: string, about: About, mayBeGlobal = false): LabelMatch | { readonly wrong: string } {
  const read = parseSelector(text);
  if ("error" in read) {
    const { at, says } = read.error;
    return { wrong: `character ${at + 1} of ${JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text)}: ${says}` };
  }
  const { selector } = read;
  if (!mayBeGlobal && saysGlobal(selector)) return { wrong: "global() can stand in the namespaceSelector of a rule only" };
  return { test: testOf(selector, about), says: formatSelector(selector) };
}

function saysGlobal(selector: Selector): boolean {
  if (selector.op === "and" || selector.op === "or") return selector.of.some(saysGlobal);
  return selector.op === "not" ? saysGlobal(selector.of) : selector.op === "global";
}

function testOf(selector: Selector, about: About): LabelTest {
  switch (selector.op) {
    case "all":
      // Every namespace is not everyone: host end points have none.
      return about === "ends" ? { op: "all", of: [] } : { op: "exists", key: NAME_LABEL };
    case "global":
      return { op: "not", of: { op: "exists", key: NAME_LABEL } };
    case "has":
      return { op: "exists", key: selector.label };
    case "and":
    case "or":
      return { op: selector.op === "and" ? "all" : "any", of: selector.of.map((part) => testOf(part, about)) };
    case "not":
      return { op: "not", of: testOf(selector.of, about) };
    case "==":
      return { op: "in", key: selector.label, values: [selector.value] };
    case "!=":
      return { op: "not", of: { op: "in", key: selector.label, values: [selector.value] } };
    case "in":
      return { op: "in", key: selector.label, values: selector.values };
    case "not in":
      return { op: "not", of: { op: "in", key: selector.label, values: selector.values } };
    case "contains":
      return { op: "contains", key: selector.label, value: selector.value };
    case "starts with":
      return { op: "starts", key: selector.label, value: selector.value };
    case "ends with":
      return { op: "ends", key: selector.label, value: selector.value };
  }
}
