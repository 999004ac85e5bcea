// Lists in pages, and at which version they are asked for (resourceVersion, resourceVersionMatch, limit, continue).
//
// The pages of one list show it as it was at the first one: objects never change, so that keeping the list costs references only.
import type { KubeObject } from "../../resources/index.ts";
import { ApiError, badRequest } from "../errors.ts";

/** Milliseconds that the rest of a list can be asked for; how many such lists are kept, and of how many objects in all. */
const KEPT_MS = 5 * 60_000;
const MOST_LISTS = 200;
const MOST_ITEMS = 500_000;

interface KeptList {
  readonly items: readonly KubeObject[];
  readonly version: string;
  readonly question: string;
  until: number;
}

export interface PageRequest {
  readonly items: readonly KubeObject[];
  readonly version: string;
  /** What the list is of: a token goes on with that list only. */
  readonly question: string;
  readonly query: URLSearchParams;
  readonly now: number;
}

export interface Page {
  readonly items: readonly KubeObject[];
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string; readonly remainingItemCount?: number };
}

const kept = new WeakMap<object, Map<string, KeptList>>();

/** `owner`: the store whose lists these are. @throws ApiError 400, 410, 504 */
export function pageOf(owner: object, request: PageRequest): Page {
  const { query, items, version, question, now } = request;
  const limit = limitOf(query);
  const token = query.get("continue") ?? "";
  checkVersion(query, version, token);
  const lists = kept.get(owner) ?? new Map<string, KeptList>();
  kept.set(owner, lists);
  for (const [id, list] of lists) if (list.until < now) lists.delete(id);
  if (token !== "") return nextPage(lists, token, { limit, question });
  if (items.length <= limit) return { items, metadata: { resourceVersion: version } };
  makeRoom(lists, items.length);
  const id = crypto.randomUUID();
  lists.set(id, { items, version, question, until: now + KEPT_MS });
  return cut(lists, id, 0, limit);
}

/** The oldest lists go where there are too many, or where they hold too much: objects that have changed since live on in them. */
function makeRoom(lists: Map<string, KeptList>, more: number): void {
  let held = more;
  for (const { items } of lists.values()) held += items.length;
  for (const [id, { items }] of lists) {
    if (lists.size < MOST_LISTS && held <= MOST_ITEMS) return;
    lists.delete(id);
    held -= items.length;
  }
}

function nextPage(lists: Map<string, KeptList>, token: string, { limit, question }: { limit: number; question: string }): Page {
  const { id, at } = readToken(token);
  const list = lists.get(id);
  if (!list)
    throw new ApiError(
      "Expired",
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
    );
  if (list.question !== question) throw badRequest("continue key is not valid: it belongs to another list");
  return cut(lists, id, at, limit);
}

function cut(lists: Map<string, KeptList>, id: string, from: number, limit: number): Page {
  const { items, version } = lists.get(id) as KeptList;
  const to = Math.min(items.length, from + limit);
  const left = items.length - to;
  const more = left > 0 ? { continue: Buffer.from(JSON.stringify({ id, at: to })).toString("base64url"), remainingItemCount: left } : {};
  return { items: items.slice(from, to), metadata: { resourceVersion: version, ...more } };
}

function readToken(text: string): { readonly id: string; readonly at: number } {
  try {
    const { id, at } = JSON.parse(Buffer.from(text, "base64url").toString("utf8")) as { id?: unknown; at?: unknown };
    if (typeof id === "string" && Number.isSafeInteger(at) && Number(at) >= 0) return { id, at: Number(at) };
  } catch {
    // Told below.
  }
  throw badRequest("continue key is not valid");
}

function limitOf(query: URLSearchParams): number {
  const text = query.get("limit");
  if (text === null || text === "" || text === "0") return Number.POSITIVE_INFINITY;
  if (!/^\d{1,9}$/.test(text)) throw badRequest(`limit: Invalid value: "${text}": must be a whole number from 0`);
  return Number(text);
}

/** Whether the list as it is now is what is asked for. */
function checkVersion(query: URLSearchParams, now: string, token: string): void {
  const asked = query.get("resourceVersion") ?? "";
  const match = query.get("resourceVersionMatch") ?? "";
  const forbidden = (why: string) =>
    new ApiError("Invalid", `ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: ${why}`);
  if (match !== "" && asked === "") throw forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (match !== "" && token !== "") throw forbidden("resourceVersionMatch is forbidden when continue is provided");
  if (match !== "" && match !== "Exact" && match !== "NotOlderThan")
    throw new ApiError(
      "Invalid",
      `ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: "${match}": supported values: "Exact", "NotOlderThan"`,
    );
  if (match === "Exact" && asked === "0") throw forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  if (asked === "" || asked === "0" || token !== "") return;
  const version = Number(asked);
  if (!Number.isSafeInteger(version) || version < 0) throw badRequest(`resourceVersion: Invalid value: "${asked}": not a resource version`);
  if (version > Number(now))
    throw new ApiError("Timeout", `Too large resource version: ${asked}, current: ${now}`, {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
      retryAfterSeconds: 1,
    });
  if (match === "Exact" && version < Number(now))
    throw new ApiError("Expired", `The resourceVersion for the provided list is too old: ${asked}, current: ${now}`);
}
