// A store that is killed at any moment has every write that it acknowledged.
//
//   ROUNDS=300 node --test src/api/durability.test.ts
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { SqliteStore } from "./sqlite-store.ts";

const ROUNDS = Number(process.env.ROUNDS ?? 10);
const MAPS = { group: "", version: "v1", plural: "configmaps" } as const;
const WRITER = `
const { SqliteStore } = await import(${JSON.stringify(fileURLToPath(new URL("./sqlite-store.ts", import.meta.url)))});
const { writeSync } = await import("node:fs");
const [path, round] = process.argv.slice(1);
const store = new SqliteStore({ path });
const maps = { group: "", version: "v1", plural: "configmaps" };
if (!store.get({ group: "", version: "v1", plural: "namespaces" }, undefined, "default"))
  store.create({ group: "", version: "v1", plural: "namespaces" }, { apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
for (let number = 0; number < 100_000; number++) {
  const name = "m" + (number % 50);
  const data = { round, number: String(number), filling: "x".repeat(number % 3000) };
  const before = store.get(maps, "default", name);
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data };
  const after = before ? store.update(maps, object) : store.create(maps, object);
  writeSync(1, name + " " + number + " " + after.metadata.resourceVersion + "\\n");
}
`;

test(`${ROUNDS} times killed, nothing lost`, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "api-durable-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "api.db");
  let highest = 0;
  let acknowledged = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const flags = ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", WRITER, path, String(round)];
    const child = spawn(process.execPath, flags, { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    const started = new Promise<void>((resolve) => {
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        // With one alone the last assertion would say nothing.
        if (text.split("\n").length > 2) resolve();
      });
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    await Promise.race([started, ended]);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
    child.kill("SIGKILL");
    await ended;
    // A line that was cut off was not acknowledged.
    const lines = text.slice(0, text.lastIndexOf("\n")).split("\n");
    acknowledged += lines.length;
    const last = new Map(lines.map((line) => [line.split(" ")[0] ?? "", line.split(" ")]));
    const store = new SqliteStore({ path });
    for (const [name, [, number, version]] of last) {
      const map = store.get(MAPS, "default", name) as unknown as {
        data: { number: string; round: string };
        metadata: { resourceVersion: string };
      };
      assert.ok(
        Number(map?.metadata.resourceVersion) >= Number(version),
        `${name}: version ${map?.metadata.resourceVersion}, acknowledged ${version}`,
      );
      if (map.metadata.resourceVersion === version) assert.deepEqual([map.data.number, map.data.round], [number, String(round)]);
    }
    const [, , newest = "0"] = lines.at(-1)?.split(" ") ?? [];
    assert.ok(Number(store.resourceVersion) >= Number(newest), "the counter does not go back");
    assert.ok(Number(store.resourceVersion) >= highest);
    highest = Number(store.resourceVersion);
    store.close();
  }
  assert.ok(acknowledged > ROUNDS, "the writer wrote");
});
