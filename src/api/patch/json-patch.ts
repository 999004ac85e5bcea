// JSON patch, RFC 6902, on plain JSON values; the input is left as it was.
import { isDeepStrictEqual } from "node:util";
import { ApiError, badRequest } from "../errors.ts";

const unsafe = new Set(["__proto__", "constructor", "prototype"]);

function refuse(message: string): never {
  throw new ApiError("Invalid", `the patch cannot be applied: ${message}`);
}

/** RFC 6901. */
function pointer(text: unknown): string[] {
  if (typeof text !== "string" || (text !== "" && !text.startsWith("/"))) throw badRequest(`"${text}" is not a JSON pointer`);
  const steps = text.split("/").slice(1);
  return steps.map((step) => {
    const name = step.replaceAll("~1", "/").replaceAll("~0", "~");
    if (unsafe.has(name)) throw badRequest(`"${name}" may not be named in a patch`);
    return name;
  });
}

function position(list: readonly unknown[], step: string, end: number): number {
  if (step === "-") return list.length;
  const at = /^(0|[1-9]\d*)$/.test(step) ? Number(step) : -1;
  if (at < 0 || at > end) refuse(`"${step}" is not a position in a list of ${list.length}`);
  return at;
}

function read(document: unknown, steps: readonly string[]): unknown {
  let at = document;
  for (const step of steps) {
    if (Array.isArray(at)) at = at[position(at, step, at.length - 1)];
    else if (typeof at === "object" && at !== null && Object.hasOwn(at, step)) at = (at as Record<string, unknown>)[step];
    else refuse(`nothing is at /${steps.join("/")}`);
  }
  return at;
}

type Change = "add" | "replace" | "remove";

function change(document: unknown, steps: readonly string[], kind: Change, value: unknown): unknown {
  const last = steps.at(-1);
  if (last === undefined) return kind === "remove" ? null : value;
  const parent = read(document, steps.slice(0, -1));
  if (Array.isArray(parent)) {
    const at = position(parent, last, kind === "add" ? parent.length : parent.length - 1);
    if (kind !== "add" && at >= parent.length) refuse(`nothing is at /${steps.join("/")}`);
    parent.splice(at, kind === "add" ? 0 : 1, ...(kind === "remove" ? [] : [value]));
    return document;
  }
  if (typeof parent !== "object" || parent === null) refuse(`nothing can be at /${steps.join("/")}`);
  const map = parent as Record<string, unknown>;
  if (kind !== "add" && !Object.hasOwn(map, last)) refuse(`nothing is at /${steps.join("/")}`);
  if (kind === "remove") delete map[last];
  else map[last] = value;
  return document;
}

/** @throws ApiError 400 for what is no patch, 422 for one that does not fit the document */
export function applyJsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest("a JSON patch is a list of operations");
  if (patch.length > 10_000) throw badRequest(`a JSON patch may have 10000 operations, not ${patch.length}`);
  let result = structuredClone(document);
  for (const step of patch) {
    if (typeof step !== "object" || step === null) throw badRequest("an operation of a JSON patch is an object");
    const { op, path, from, value } = step as Record<string, unknown>;
    const to = pointer(path);
    switch (op) {
      case "test":
        if (!isDeepStrictEqual(read(result, to), value)) refuse(`testing value ${path} failed`);
        break;
      case "add":
      case "replace":
        result = change(result, to, op, structuredClone(value));
        break;
      case "remove":
        result = change(result, to, op, undefined);
        break;
      case "copy":
        result = change(result, to, "add", structuredClone(read(result, pointer(from))));
        break;
      case "move": {
        const source = pointer(from);
        if (to.length > source.length && source.every((part, at) => part === to[at])) refuse(`${from} cannot move into itself`);
        const moved = read(result, source);
        result = change(change(result, source, "remove", undefined), to, "add", moved);
        break;
      }
      default:
        throw badRequest(`"${op}" is not an operation of JSON patch`);
    }
  }
  return result;
}
