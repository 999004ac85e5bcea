import assert from "node:assert/strict";
import { test } from "node:test";
import { chain } from "../../../../test/dns-chain.ts";
import { ask } from "../../../../test/dns-client.ts";
import { startDns } from "../../serve/start.ts";

test("its route, its address", async () => {
  const c = await chain("health 127.0.0.1:8089");
  assert.deepEqual(
    c.configuration.http.map(({ address, port, path }) => ({ address, port, path })),
    [{ address: "127.0.0.1", port: 8089, path: "/health" }],
  );
  assert.deepEqual(await c.configuration.http[0]?.respond(), { status: 200, body: "OK" });
  assert.equal((await chain("health")).configuration.http[0]?.port, 8080);
  c.block.site.installed("health")?.stop?.();
});

test("lameduck: the server answers on while it ends, is not ready, and a reload does not wait for it", async (t) => {
  const corefile = ".:0 {\n health 127.0.0.1:0 {\n lameduck 1h\n }\n}";
  const server = await startDns({ corefile });
  const port = server.status().listeners[0]?.port ?? 0;
  await server.reload(`${corefile}\n# other\n`);
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const closing = server.close();
  assert.equal((await ask("x.", "A", { port })).rcode, 5);
  t.mock.timers.tick(3_600_000);
  t.mock.timers.reset();
  await closing;
  await assert.rejects(ask("x.", "A", { port, timeoutMs: 50 }));
});

test("what makes no sense is refused", async () => {
  await assert.rejects(chain("health nowhere"), /no address and port/);
  await assert.rejects(chain("health {\nlameduck soon\n}"), /no duration/);
  await assert.rejects(chain("health {\nlame 5s\n}"), /lameduck/);
});
