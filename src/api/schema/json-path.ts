// The simple JSON paths that definitions of kinds use: `.spec.replicas`, `.status.conditions[?(@.type=="Ready")].status`, `.a['b.c'][0]`, `[*]`.
import { isMap, type Json } from "../patch/merge-patch.ts";

type Step =
  | { readonly name: string }
  | { readonly index: number }
  | { readonly all: true }
  | { readonly where: string; readonly is: string };

const STEP =
  /\.?(?:\[\?\(@\.([\w.]+)\s*==\s*(?:"([^"]*)"|'([^']*)'|([\w.-]+))\)\]|\[(\d+)\]|\[\*\]|\[['"]([^'"]*)['"]\]|\*|((?:[^.[\]\\*]|\\.)+))/y;

/** The steps of a path; undefined for what cannot be read. */
function parsePath(text: string): readonly Step[] | undefined {
  const steps: Step[] = [];
  const path = text.replace(/^\{(.*)\}$/, "$1").replace(/^\$/, "");
  STEP.lastIndex = 0;
  while (STEP.lastIndex < path.length) {
    const match = STEP.exec(path);
    if (!match) return undefined;
    const [, where, double, single, bare, index, quoted, name] = match;
    if (where !== undefined) steps.push({ where, is: double ?? single ?? bare ?? "" });
    else if (index !== undefined) steps.push({ index: Number(index) });
    else if (quoted !== undefined) steps.push({ name: quoted });
    else if (name !== undefined) steps.push({ name: name.replace(/\\(.)/g, "$1") });
    else steps.push({ all: true });
  }
  return steps;
}

const parsed = new Map<string, readonly Step[] | undefined>();

/** All values at a path; none for a path that cannot be read. */
export function valuesAt(document: unknown, path: string): unknown[] {
  if (!parsed.has(path)) parsed.set(path, parsePath(path));
  let found: unknown[] = [document];
  for (const step of parsed.get(path) ?? [{ name: "\0" }]) found = found.flatMap((value) => take(value, step));
  return found;
}

function take(value: unknown, step: Step): unknown[] {
  if ("name" in step) return isMap(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : [];
  if ("index" in step) return Array.isArray(value) && step.index < value.length ? [value[step.index]] : [];
  const members: unknown[] = Array.isArray(value) ? value : isMap(value) ? Object.values(value) : [];
  return "all" in step ? members : members.filter((member) => valuesAt(member, `.${step.where}`).some((is) => String(is) === step.is));
}

/** A copy with the value at a path of plain names; maps on the way are made. */
export function withValueAt(document: Json, path: string, value: unknown): Json {
  const [name, ...rest] = path.split(".").filter(Boolean);
  if (name === undefined) return document;
  if (rest.length === 0) return { ...document, [name]: value };
  const below = document[name];
  return { ...document, [name]: withValueAt(isMap(below) ? below : {}, rest.join("."), value) };
}
