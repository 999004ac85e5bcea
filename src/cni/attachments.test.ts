// The records on disk: whole or not there at all, through crashes and restarts.
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type AttachmentRecord, openAttachments } from "./index.ts";

const record = (containerId: string, ifname = "eth0", address = "10.244.1.2/24"): AttachmentRecord => ({
  network: "fairlead",
  containerId,
  interface: ifname,
  podNamespace: "default",
  podName: "web",
  netns: "/run/netns/x",
  hostLink: "veth12345678",
  mac: "02:00:00:00:00:01",
  addresses: [address],
});

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-records-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "attachments");
}

test("what was put is there after a restart, oldest first, readable by its owner only", (t) => {
  const directory = scratch(t);
  const store = openAttachments(directory);
  for (const id of ["c2", "c1", "c3"]) store.put(record(id));
  store.put(record("c1", "net1"));
  store.delete("c3", "eth0");
  store.delete("c9", "eth0");
  ["c2.eth0", "c1.eth0", "c1.net1"].forEach((name, age) => {
    utimesSync(join(directory, `${name}.json`), 1000 + age, 1000 + age);
    assert.equal(statSync(join(directory, `${name}.json`)).mode & 0o777, 0o600);
  });
  const again = openAttachments(directory);
  assert.deepEqual(again.list(), [record("c2"), record("c1"), record("c1", "net1")]);
  assert.deepEqual(again.get("c1", "net1"), record("c1", "net1"));
  assert.equal(again.get("c3", "eth0"), undefined);
  assert.equal(statSync(directory).mode & 0o777, 0o700);
});

test("a crash between write and rename leaves the old record, or none; the half-written file goes", (t) => {
  const directory = scratch(t);
  openAttachments(directory).put(record("c1"));
  writeFileSync(join(directory, "c1.eth0.json.new"), JSON.stringify(record("c1", "eth0", "10.244.1.99/24")));
  writeFileSync(join(directory, "c2.eth0.json.new"), '{"network":"fai');
  const store = openAttachments(directory);
  assert.deepEqual(store.list(), [record("c1")]);
  assert.deepEqual(readdirSync(directory), ["c1.eth0.json"]);
});

test("a damaged file is set aside, named, and in nobody's way", (t) => {
  const damaged: Readonly<Record<string, string>> = {
    empty: "",
    cut: JSON.stringify(record("cut")).slice(0, 40),
    list: "[]",
    null: "null",
    field: JSON.stringify({ ...record("field"), hostLink: 7 }),
    addresses: JSON.stringify({ ...record("addresses"), addresses: "10.244.1.2/24" }),
    address: JSON.stringify({ ...record("address"), addresses: ["10.244.1.2"] }),
  };
  const directory = scratch(t);
  openAttachments(directory).put(record("good"));
  for (const [name, text] of Object.entries(damaged)) writeFileSync(join(directory, `${name}.eth0.json`), text);
  const store = openAttachments(directory);
  assert.deepEqual(store.list(), [record("good")]);
  assert.deepEqual(
    [...store.damaged].sort(),
    Object.keys(damaged)
      .map((name) => join(directory, `${name}.eth0.json`))
      .sort(),
  );
  for (const name of Object.keys(damaged)) store.put(record(name));
  const again = openAttachments(directory);
  assert.deepEqual([again.damaged.length, again.list().length], [0, 8]);
  assert.equal(readdirSync(directory).filter((file) => file.endsWith(".damaged")).length, 7);
});
