// Validation rules of schemas (x-kubernetes-validations, KEP-2876), in the Common Expression Language.
import { createRequire } from "node:module";
import type * as Cel from "@marcbachmann/cel-js";
import type { StatusCause } from "../errors.ts";
import { isMap } from "../patch/merge-patch.ts";
import type { Schema } from "./structural.ts";

interface Rule {
  readonly rule?: string;
  readonly message?: string;
  readonly messageExpression?: string;
  readonly reason?: string;
  readonly fieldPath?: string;
  readonly optionalOldSelf?: boolean;
}

type Program = (context: Readonly<Record<string, unknown>>) => unknown;

const MAX_DEPTH = 64;
let environment: Cel.Environment | undefined;
const programs = new Map<string, Program | undefined>();

/** Parsed once; undefined for what the library does not understand: such a rule is not asked. */
function programOf(text: string): Program | undefined {
  if (!programs.has(text)) {
    let program: Program | undefined;
    try {
      // Loaded with the first rule.
      environment ??= new (createRequire(import.meta.url)("@marcbachmann/cel-js") as typeof Cel).Environment({
        unlistedVariablesAreDyn: true,
        homogeneousAggregateLiterals: false,
      });
      program = environment.parse(text) as Program;
    } catch {
      program = undefined;
    }
    programs.set(text, program);
  }
  return programs.get(text);
}

/** Integers are CEL's int. */
function celValue(value: unknown): unknown {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(celValue);
  if (isMap(value)) return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, celValue(each)]));
  return value;
}

/** Rules of a schema that the library does not understand, with their paths. */
export function unreadableRules(schema: Schema | undefined, path = "", depth = 0): string[] {
  if (!schema || depth > MAX_DEPTH) return [];
  const own = (schema["x-kubernetes-validations"] ?? []).flatMap(({ rule = "" }) => (programOf(rule) ? [] : [`${path || "."}: ${rule}`]));
  const below = Object.entries(schema.properties ?? {}).flatMap(([name, property]) =>
    unreadableRules(property, `${path}.${name}`, depth + 1),
  );
  const { additionalProperties: more, items } = schema;
  return [
    ...own,
    ...below,
    ...unreadableRules(items, `${path}[]`, depth + 1),
    ...(typeof more === "object" ? unreadableRules(more, `${path}.*`, depth + 1) : []),
  ];
}

/** What the rules say against a value; `old`: what an update replaces. */
export function ruleFaults(value: unknown, schema: Schema | undefined, old: unknown, path = "", depth = 0): StatusCause[] {
  if (!schema || depth > MAX_DEPTH || value === undefined || value === null) return [];
  const causes = (schema["x-kubernetes-validations"] ?? []).flatMap((rule) => ask(rule as Rule, value, old, path));
  const at = (name: string) => (path === "" ? name : `${path}.${name}`);
  if (isMap(value)) {
    const before = isMap(old) ? old : {};
    const { properties = {}, additionalProperties: more } = schema;
    for (const [name, given] of Object.entries(value)) {
      const known = Object.hasOwn(properties, name) ? properties[name] : typeof more === "object" ? more : undefined;
      causes.push(...ruleFaults(given, known, before[name], at(name), depth + 1));
    }
  } else if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) causes.push(...ruleFaults(item, schema.items, undefined, `${path}[${index}]`, depth + 1));
  }
  return causes;
}

function ask(rule: Rule, value: unknown, old: unknown, path: string): StatusCause[] {
  const text = rule.rule ?? "";
  const program = programOf(text);
  // A rule about a change says nothing about what is new.
  if (!program || (old === undefined && /\boldSelf\b/.test(text) && !rule.optionalOldSelf)) return [];
  const context = { self: celValue(value), ...(old === undefined ? {} : { oldSelf: celValue(old) }) };
  let why: string | undefined;
  try {
    if (program(context) !== false) return [];
  } catch (error) {
    why = error instanceof Error ? error.message.split("\n")[0] : String(error);
  }
  const field = `${path}${rule.fieldPath ?? ""}`.replace(/^\./, "");
  const said = rule.message ?? expressed(rule.messageExpression, context) ?? `failed rule: ${text}`;
  const kind = typeof value === "object" ? (Array.isArray(value) ? "array" : "object") : JSON.stringify(value);
  return [
    {
      reason: rule.reason ?? "FieldValueInvalid",
      message: `Invalid value: ${JSON.stringify(kind)}: ${why ? `${said} (${why})` : said}`,
      field,
    },
  ];
}

function expressed(expression: string | undefined, context: Readonly<Record<string, unknown>>): string | undefined {
  try {
    const said = expression === undefined ? undefined : programOf(expression)?.(context);
    return typeof said === "string" ? said : undefined;
  } catch {
    return undefined;
  }
}
