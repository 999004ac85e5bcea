// The house's floors: which room may import which, and only through its face. Every forbidden import is listed with its reason.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const SRC = fileURLToPath(new URL("../src", import.meta.url));

/** Room → the rooms it may import. `types` are interfaces shared by floors above and below. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  kernel: ["base"],
  resources: ["base"],
  bgp: ["base"],
  peering: ["bgp", "cluster", "resources", "base"],
  cni: ["base"],
  cluster: ["resources", "base"],
  api: ["resources", "base"],
  dns: ["cluster", "resources", "base"],
  ipam: ["cluster", "resources", "base"],
  "datapath/overlay": ["cluster", "resources", "kernel", "base"],
  "datapath/routed": ["ipam", "cluster", "resources", "kernel", "base"],
  services: ["cluster", "resources", "kernel", "base"],
  policy: ["cluster", "resources", "kernel", "base"],
  relay: ["policy", "cluster", "resources", "kernel", "base"],
  plan: ["datapath/overlay", "datapath/routed", "services", "policy", "ipam", "cluster", "resources", "kernel", "base"],
  agent: [
    "plan",
    "peering",
    "bgp",
    "datapath/overlay",
    "datapath/routed",
    "services",
    "policy",
    "ipam",
    "cluster",
    "resources",
    "cni",
    "kernel",
    "base",
  ],
  trace: ["plan", "ipam", "datapath/overlay", "datapath/routed", "services", "policy", "cluster", "resources", "kernel", "base"],
  lab: ["agent", "api", "dns", "cni", "services", "ipam", "cluster", "resources", "kernel", "base"],
  cli: [
    "lab",
    "bgp",
    "relay",
    "ipam",
    "trace",
    "agent",
    "api",
    "dns",
    "cni",
    "plan",
    "policy",
    "services",
    "cluster",
    "resources",
    "kernel",
    "base",
  ],
};

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));

function roomOf(file: string): string {
  const [first = "", second = ""] = file.split("/");
  return first === "datapath" ? `${first}/${second}` : first;
}

test("a room imports only rooms below it, and only through their faces", () => {
  const forbidden: string[] = [];
  for (const file of files) {
    const room = roomOf(file);
    const allowed = MAY_IMPORT[room];
    assert.ok(allowed, `${file}: room "${room}" stands on no floor; say in this test what it may import`);
    for (const [, target = ""] of readFileSync(join(SRC, file), "utf8").matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)) {
      const path = relative(SRC, join(SRC, dirname(file), target));
      // Tests, and a contract is one, may use what lies in test/.
      if (path.startsWith("..")) {
        if (!/\.(test|contract)\.ts$/.test(file)) forbidden.push(`${file} → ${path}: outside src/, only tests go there`);
        continue;
      }
      const other = roomOf(path);
      if (other === room) continue;
      if (!allowed.includes(other)) forbidden.push(`${file} → ${path}: ${room} may import ${allowed.join(", ") || "nothing"}`);
      else if (path !== `${other}/index.ts`) forbidden.push(`${file} → ${path}: not through the face ${other}/index.ts`);
    }
  }
  assert.deepEqual(forbidden, []);
});

test("no room imports itself in a circle through another", () => {
  const visit = (room: string, path: readonly string[]): void => {
    assert.ok(!path.includes(room), `circle: ${[...path, room].join(" → ")}`);
    for (const next of MAY_IMPORT[room] ?? []) visit(next, [...path, room]);
  };
  for (const room of Object.keys(MAY_IMPORT)) visit(room, []);
});

test("names say what a file is: no utils, helpers, managers or commons", () => {
  const vague = files.filter((file) => /(^|[/-])(utils?|helpers?|managers?|common|misc)([.-]|$)/.test(file));
  assert.deepEqual(vague, []);
});
