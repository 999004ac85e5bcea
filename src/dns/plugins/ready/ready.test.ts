import assert from "node:assert/strict";
import { test } from "node:test";
import { chain } from "../../../../test/dns-chain.ts";
import { createReplicaSource } from "../../../cluster/index.ts";

async function waiting(options: string) {
  const source = createReplicaSource();
  const c = await chain(`ready ${options}\nkubernetes cluster.local {\nstartup_timeout 1ms\n}`, { source });
  const route = c.configuration.http[0];
  return { c, source, told: async () => `${(await route?.respond())?.status} ${(await route?.respond())?.body}` };
}

test("503 with the plugins that are waited for, then 200; once ready it stays so", async () => {
  const { source, told, c } = await waiting("");
  assert.equal(c.configuration.http[0]?.port, 8181);
  assert.equal(await told(), "503 kubernetes");
  source.replace([]);
  assert.equal(await told(), "200 OK");
  Object.assign(source, { synced: false });
  assert.equal(await told(), "200 OK");
  await c.block.site.installed("ready")?.retire?.();
  assert.match(await told(), /^503/);
  c.block.site.installed("kubernetes")?.stop?.();
});

test("monitor continuously asks again", async () => {
  const { source, told, c } = await waiting(":8182 {\nmonitor continuously\n}");
  source.replace([]);
  assert.equal(await told(), "200 OK");
  Object.assign(source, { synced: false });
  assert.equal(await told(), "503 kubernetes");
  c.block.site.installed("kubernetes")?.stop?.();
});

test("what makes no sense is refused", async () => {
  await assert.rejects(chain("ready {\nmonitor sometimes\n}"), /not one of until-ready, continuously/);
});
