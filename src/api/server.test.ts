// The server over its own TLS: access, refusals, and a watch on the wire.
import assert from "node:assert/strict";
import { request } from "node:https";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { type ApiServer, SqliteStore, startApiServer } from "./index.ts";

interface Ask {
  readonly accepted?: string;
  readonly path: string;
  readonly method?: string;
  readonly body?: string;
  readonly token?: string;
}

interface Answer {
  readonly code: number;
  readonly text: string;
  readonly encoding: string | undefined;
}

function ask(server: ApiServer, { path, method = "GET", body, token = server.token, accepted = "identity" }: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", "accept-encoding": accepted };
    const call = request(`${server.url}${path}`, { method, ca: server.caPem, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      const encoding = response.headers["content-encoding"];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const bytes = Buffer.concat(chunks);
        resolve({ code: response.statusCode ?? 0, text: String(encoding === "gzip" ? gunzipSync(bytes) : bytes), encoding });
      });
    });
    call.on("error", reject);
    call.end(body);
  });
}

test("access, refusals and watches", async (t) => {
  const store = new SqliteStore({ path: ":memory:" });
  const server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  t.after(async () => {
    await server.close();
    store.close();
  });
  const root = "/api/v1/namespaces";
  const rows: readonly (readonly [Ask, number])[] = [
    [{ path: root, token: "wrong" }, 401],
    [{ path: root, method: "POST", body: "{" }, 400],
    [{ path: root, method: "POST", body: '{"metadata":{"name":"a"}}' }, 201],
    [{ path: root, method: "POST", body: '{"metadata":{"name":"a"}}' }, 409],
    [{ path: `${root}?limit=1&continue=x` }, 400],
    [{ path: root, method: "POST", body: JSON.stringify({ metadata: { name: "b" }, spec: { filling: "x".repeat(4 << 20) } }) }, 413],
    [{ path: `${root}/a/pods/p/log` }, 404],
    [{ path: "/apis/none/v1/things" }, 404],
    [{ path: `${root}/a?dryRun=All`, method: "DELETE" }, 200],
  ];
  for (const [asked, code] of rows) assert.equal((await ask(server, asked)).code, code, JSON.stringify(asked));
  const watched = await ask(server, { path: `${root}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true` });
  const types = watched.text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).type);
  assert.deepEqual(types, ["ADDED", "BOOKMARK"]);
});

test("a large list is compressed for who takes that; a small one is not", async (t) => {
  const store = new SqliteStore({ path: ":memory:" });
  const server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  t.after(async () => {
    await server.close();
    store.close();
  });
  const maps = { group: "", version: "v1", plural: "configmaps" };
  store.create({ group: "", version: "v1", plural: "namespaces" }, { apiVersion: "v1", kind: "Namespace", metadata: { name: "a" } });
  for (let i = 0; i < 200; i++) {
    const object = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: `m${i}`, namespace: "a" },
      data: { filling: "x".repeat(1000) },
    };
    store.create(maps, object);
  }
  const path = "/api/v1/configmaps";
  const plain = await ask(server, { path });
  assert.equal(plain.encoding, undefined);
  assert.equal((JSON.parse(plain.text) as { items: unknown[] }).items.length, 200);
  for (const [accepted, encoding] of [
    ["gzip", "gzip"],
    ["deflate, gzip;q=0.5", "gzip"],
    ["gzip;q=0", undefined],
  ] as const) {
    const answer = await ask(server, { path, accepted });
    assert.equal(answer.encoding, encoding, accepted);
    assert.equal(answer.text, plain.text);
  }
  assert.equal((await ask(server, { path: `${path}?limit=1`, accepted: "gzip" })).encoding, undefined);
});
