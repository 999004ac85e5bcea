// The server over its own TLS: access, refusals, and a watch on the wire.
import assert from "node:assert/strict";
import { request } from "node:https";
import { test } from "node:test";
import { type ApiServer, SqliteStore, startApiServer } from "./index.ts";

interface Ask {
  readonly path: string;
  readonly method?: string;
  readonly body?: string;
  readonly token?: string;
}

function ask(server: ApiServer, { path, method = "GET", body, token = server.token }: Ask): Promise<{ code: number; text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const call = request(`${server.url}${path}`, { method, ca: server.caPem, headers, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ code: response.statusCode ?? 0, text }));
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
