// Lists in pages and by version: the pages of a list are of one moment, and what cannot be given is said as API servers say it.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../resources/index.ts";
import { ApiError } from "../errors.ts";
import { pageOf } from "./pages.ts";

const objects = (count: number): KubeObject[] =>
  Array.from({ length: count }, (_, index) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `m${index}` } }));
const ask = (owner: object, query: string, more: Partial<Parameters<typeof pageOf>[1]> = {}) =>
  pageOf(owner, { items: objects(10), version: "50", question: "maps", query: new URLSearchParams(query), now: 0, ...more });
const codeOf = (action: () => unknown): number => {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error));
    return error.httpCode;
  }
  return 200;
};

test("all pages together are the list as it was at the first one", () => {
  const owner = {};
  const names: string[] = [];
  let page = ask(owner, "limit=4");
  assert.deepEqual([page.metadata.resourceVersion, page.metadata.remainingItemCount], ["50", 6]);
  for (;;) {
    names.push(...page.items.map(({ metadata }) => metadata.name));
    if (page.metadata.continue === undefined) break;
    // Meanwhile the list has changed.
    page = ask(owner, `limit=4&continue=${page.metadata.continue}`, { items: objects(3), version: "60" });
    assert.equal(page.metadata.resourceVersion, "50");
  }
  assert.deepEqual(
    names,
    objects(10).map(({ metadata }) => metadata.name),
  );
});

test("what cannot be given is refused", () => {
  const owner = {};
  const token = ask(owner, "limit=4").metadata.continue ?? "";
  const rows: readonly (readonly [string, number, Partial<Parameters<typeof pageOf>[1]>?])[] = [
    ["", 200],
    ["limit=0", 200],
    ["limit=x", 400],
    ["limit=-1", 400],
    ["continue=x", 400],
    [`continue=${token}`, 200],
    [`continue=${token}`, 400, { question: "secrets" }],
    [`continue=${token}`, 410, { now: 301_000 }],
    ["resourceVersion=50&resourceVersionMatch=Exact", 200],
    ["resourceVersion=49&resourceVersionMatch=Exact", 410],
    ["resourceVersion=49&resourceVersionMatch=NotOlderThan", 200],
    ["resourceVersion=51", 504],
    ["resourceVersion=0", 200],
    ["resourceVersion=x", 400],
    ["resourceVersionMatch=Exact", 422],
    ["resourceVersion=0&resourceVersionMatch=Exact", 422],
    ["resourceVersion=5&resourceVersionMatch=Never", 422],
    [`continue=${token}&resourceVersion=5&resourceVersionMatch=Exact`, 422],
  ];
  for (const [query, code, more] of rows)
    assert.equal(
      codeOf(() => ask(owner, query, more)),
      code,
      query,
    );
});
