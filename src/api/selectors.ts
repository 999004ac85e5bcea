// Label and field selectors in their text form, as list and watch requests carry them.
import type { KubeObject } from "../resources/index.ts";
import { badRequest } from "./errors.ts";

export type ObjectFilter = (object: KubeObject) => boolean;

type LabelTest = (labels: Readonly<Record<string, string>>) => boolean;

const labelName = /^([a-z0-9.-]+\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const comparison = /^([^=!<>\s]+)\s*(==|=|!=|>|<)\s*([^=!\s]*)$/;

function checkKey(key: string, selector: string): string {
  if (!labelName.test(key)) throw badRequest(`unable to parse requirement: "${key}" is not a label key in selector "${selector}"`);
  return key;
}

function labelTest(term: string, selector: string): LabelTest {
  const inSet = set.exec(term);
  if (inSet) {
    const key = checkKey(inSet[1] ?? "", selector);
    const values = new Set((inSet[3] ?? "").split(",").map((value) => value.trim()));
    if (inSet[2] === "in") return (labels) => labels[key] !== undefined && values.has(labels[key]);
    return (labels) => labels[key] === undefined || !values.has(labels[key]);
  }
  const compared = comparison.exec(term);
  if (compared) {
    const key = checkKey(compared[1] ?? "", selector);
    const value = compared[3] ?? "";
    switch (compared[2]) {
      case "!=":
        return (labels) => labels[key] !== value;
      case ">":
        return (labels) => labels[key] !== undefined && Number(labels[key]) > Number(value);
      case "<":
        return (labels) => labels[key] !== undefined && Number(labels[key]) < Number(value);
      default:
        return (labels) => labels[key] === value;
    }
  }
  if (term.startsWith("!")) {
    const key = checkKey(term.slice(1).trim(), selector);
    return (labels) => labels[key] === undefined;
  }
  const key = checkKey(term, selector);
  return (labels) => labels[key] !== undefined;
}

/** Splits at commas outside of parentheses. */
function terms(selector: string): string[] {
  return selector
    .split(/,(?![^(]*\))/)
    .map((term) => term.trim())
    .filter((term) => term !== "");
}

function fieldTest(term: string, selector: string): ObjectFilter {
  const parsed = comparison.exec(term);
  if (!parsed || parsed[2] === ">" || parsed[2] === "<") {
    throw badRequest(`invalid selector: '${selector}'; can't understand '${term}'`);
  }
  const path = (parsed[1] ?? "").split(".");
  const value = parsed[3] ?? "";
  const equal = parsed[2] !== "!=";
  return (object) => {
    let found: unknown = object;
    for (const step of path) found = (found as Record<string, unknown> | undefined | null)?.[step];
    return ((found ?? "").toString() === value) === equal;
  };
}

/** The test of both selectors together; undefined where everything passes. @throws ApiError 400 if one cannot be read */
export function objectFilter(labelSelector: string | undefined, fieldSelector: string | undefined): ObjectFilter | undefined {
  const labels = labelSelector ? terms(labelSelector).map((term) => labelTest(term, labelSelector)) : [];
  const fields = fieldSelector ? terms(fieldSelector).map((term) => fieldTest(term, fieldSelector)) : [];
  if (labels.length + fields.length === 0) return undefined;
  return (object) => {
    const own = object.metadata.labels ?? {};
    return labels.every((test) => test(own)) && fields.every((test) => test(object));
  };
}
