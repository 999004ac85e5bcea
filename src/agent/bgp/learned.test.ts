import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openLearnedRoutes } from "./learned.ts";

const directory = mkdtempSync(join(tmpdir(), "fairlead-learned-"));
const file = join(directory, "learned.json");
after(() => rmSync(directory, { recursive: true, force: true }));

const route = (prefix: string, ...hops: string[]) => ({
  prefix,
  family: 4 as const,
  nextHops: hops.map((address) => ({ address, peer: "p" })),
});

test("routes are kept over a restart, and not over a reboot", () => {
  const first = openLearnedRoutes(file, "boot-1", () => {});
  assert.equal(first.kept, false);
  assert.equal(first.take([route("10.1.0.0/26", "10.0.0.1", "10.0.0.2"), route("10.2.0.0/26")]), true);
  assert.equal(first.take([route("10.1.0.0/26", "10.0.0.1", "10.0.0.2")]), false, "the same again is no change");
  first.close();
  const again = openLearnedRoutes(file, "boot-1", () => {});
  assert.equal(again.kept, true);
  assert.deepEqual(again.list, [{ prefix: "10.1.0.0/26", nextHops: ["10.0.0.1", "10.0.0.2"], peer: "p" }]);
  assert.equal(again.replace([route("10.1.0.0/26", "10.0.0.1", "10.0.0.2")]), false);
  assert.equal(again.replace([]), true);
  assert.deepEqual(again.list, []);
  again.close();
  const rebooted = openLearnedRoutes(file, "boot-2", () => {});
  assert.deepEqual([rebooted.kept, rebooted.list], [false, []]);
});

test("a route that goes, goes; a file that is damaged is as none", () => {
  writeFileSync(file, "{");
  const routes = openLearnedRoutes(file, "boot-1", () => {});
  assert.equal(routes.kept, false);
  routes.take([route("10.1.0.0/26", "10.0.0.1")]);
  assert.equal(routes.take([{ prefix: "10.1.0.0/26", family: 4 }]), true);
  assert.equal(routes.take([{ prefix: "10.1.0.0/26", family: 4 }]), false);
  routes.close();
  assert.deepEqual(JSON.parse(readFileSync(file, "utf8")).routes, []);
});
