// An API server that misbehaves: what the source makes of it.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import type { ClusterSource } from "../snapshot.ts";
import { jsonLines } from "./client.ts";
import { flattenKubeconfig, readKubeconfig, redirectKubeconfig } from "./kubeconfig.ts";
import { patchObject, sourceFromKubernetes } from "./kubernetes.ts";

const NODES = { group: "", version: "v1", plural: "nodes" };
type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** Answers lists and watches from two scripts; the last list stays, and a watch beyond the script stays open. */
async function serve(t: TestContext, lists: readonly Answer[], watches: readonly Answer[]) {
  const asked: string[] = [];
  let [list, watch] = [0, 0];
  // Longer than a machine stands still: no connection is closed under a request.
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    asked.push(request.url ?? "");
    if (request.url?.includes("watch=true")) (watches[watch++] ?? open)(response, request);
    else (lists[Math.min(list++, lists.length - 1)] ?? open)(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const kubeconfig = JSON.stringify({
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c" } }],
    clusters: [{ name: "c", cluster: { server: url } }],
  });
  const problems: string[] = [];
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const source = sourceFromKubernetes({ kubeconfig, resources: [NODES], pause: () => 1, onProblem: (message) => problems.push(message) });
  t.after(() => source.close());
  return { source, asked, problems };
}

const open: Answer = (response) => void response.writeHead(200).flushHeaders();
const node = (name: string, resourceVersion: string, label = "") => ({ metadata: { name, resourceVersion, labels: { label } } });
const full = (name: string, version: string, label = "") => ({ apiVersion: "v1", kind: "Node", ...node(name, version, label) });
const listOf =
  (version: string, items: readonly object[], token = ""): Answer =>
  (response) =>
    response.end(JSON.stringify({ kind: "NodeList", apiVersion: "v1", metadata: { resourceVersion: version, continue: token }, items }));
const status =
  (code: number, body = "{}"): Answer =>
  (response) =>
    response.writeHead(code).end(body);
const text = (...events: readonly object[]) => events.map((event) => `${JSON.stringify(event)}\n`).join("");

async function until(source: ClusterSource, expected: readonly string[]): Promise<void> {
  const seen = () =>
    source.synced ? [...source.snapshot.nodes.values()].map(({ metadata }) => `${metadata.name}${metadata.labels?.label ?? ""}`) : [];
  for (let tries = 0; tries < 500 && seen().join() !== expected.join(); tries++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(seen(), expected);
}

test("a list in pages, whose items have no kind, and events", async (t) => {
  const event = text({ type: "ADDED", object: full("c", "6", "é€") }, { type: "DELETED", object: full("a", "7") });
  const bytes = Buffer.from(event);
  const { source, asked } = await serve(
    t,
    [listOf("5", [node("a", "1")], "more"), listOf("5", [node("b", "2")])],
    [
      (response) => {
        // Byte by byte: within characters and within lines.
        for (const byte of bytes) response.write(Buffer.from([byte]));
      },
    ],
  );
  await until(source, ["b", "cé€"]);
  assert.ok(asked[1]?.includes("continue=more"));
  assert.ok(asked[2]?.includes("resourceVersion=5") && asked[2].includes("allowWatchBookmarks=true"));
  assert.equal(source.snapshot.nodes.get("b")?.kind, "Node");
});

test("a watch that ends or breaks goes on from the last version, a bookmark's too", async (t) => {
  const { source, asked } = await serve(
    t,
    [listOf("5", [node("a", "1")])],
    [
      (response) => response.end(text({ type: "BOOKMARK", object: { metadata: { resourceVersion: "9" } } })),
      (response) => {
        response.write(`${text({ type: "MODIFIED", object: full("a", "10", "-x") })}{"type":"ADD`);
        setTimeout(() => response.destroy(), 20);
      },
      (response) => response.write(text({ type: "ADDED", object: full("b", "11") })),
    ],
  );
  await until(source, ["a-x", "b"]);
  const watches = asked.filter((url) => url.includes("watch=")).map((url) => /resourceVersion=(\d+)/.exec(url)?.[1]);
  assert.deepEqual(watches, ["5", "9", "10"]);
});

test("410 lists again, and what is gone meanwhile is deleted", async (t) => {
  const { source, asked } = await serve(
    t,
    [listOf("5", [node("a", "1"), node("b", "2")]), listOf("20", [node("b", "2"), node("c", "19")])],
    [(response) => response.write(text({ type: "ERROR", object: { kind: "Status", code: 410, message: "too old resource version" } }))],
  );
  await until(source, ["b", "c"]);
  assert.equal(asked.filter((url) => !url.includes("watch=")).length, 2);
});

test("failures are told and tried again; nonsense disturbs nothing", async (t) => {
  const { source, problems } = await serve(
    t,
    [
      status(500),
      status(403, '{"message":"nodes is forbidden"}'),
      status(200, "<html>"),
      status(200, "null"),
      listOf("5", [node("a", "1"), 7 as never]),
    ],
    [
      status(503),
      (response) => response.end("garbage\n"),
      (response) =>
        response.end(text({ type: "ADDED" }, { type: "ODD", object: full("x", "8") }, { type: "ADDED", object: full("b", "9") })),
    ],
  );
  await until(source, ["a", "b"]);
  assert.match(problems.join("\n"), /nodes is forbidden.*give the user/);
  assert.ok(problems.length >= 5, problems.join("\n"));
});

test("a kind that the server does not have counts as empty", async (t) => {
  const { source } = await serve(t, [status(404)], []);
  await until(source, []);
  for (let tries = 0; tries < 500 && !source.synced; tries++) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(source.synced, true);
});

test("a 404 takes nothing away that is known", async (t) => {
  const gone: Answer = (response) => response.end(text({ type: "ERROR", object: { code: 410 } }));
  const { source, problems, asked } = await serve(
    t,
    [listOf("5", [node("a", "1")]), status(404), status(404), listOf("9", [node("a", "1"), node("b", "8")])],
    [gone],
  );
  await until(source, ["a", "b"]);
  assert.equal(problems.length, 2, problems.join("\n"));
  assert.ok(asked.length >= 5);
});

test("lines are the same, wherever their bytes are split", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), fc.array(fc.nat(40), { maxLength: 30 }), async (values, cuts) => {
      const bytes = Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
      async function* pieces() {
        let from = 0;
        for (const cut of cuts) {
          yield bytes.subarray(from, from + cut);
          from += cut;
        }
        yield bytes.subarray(Math.min(from, bytes.length));
      }
      const read: unknown[] = [];
      for await (const value of jsonLines(pieces())) read.push(value);
      assert.equal(JSON.stringify(read), JSON.stringify(values));
    }),
    { numRuns: 200 },
  );
});

test("kubeconfig: data, files, tokens, and what cannot be used", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "kubeconfig-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "ca.pem"), "CA");
  writeFileSync(join(folder, "token"), "one\n");
  const config = (user: object, cluster: object = {}) =>
    JSON.stringify({
      "current-context": "b",
      contexts: [
        { name: "a", context: {} },
        { name: "b", context: { cluster: "c", user: "u" } },
      ],
      clusters: [{ name: "c", cluster: { server: "https://[fd00::1]:6443", "certificate-authority": "ca.pem", ...cluster } }],
      users: [{ name: "u", user }],
    });
  const path = join(folder, "config");
  writeFileSync(path, config({ tokenFile: "token", "client-certificate-data": Buffer.from("CERT").toString("base64") }));
  const access = readKubeconfig(path);
  assert.deepEqual([access.server.hostname, String(access.tls.ca), String(access.tls.cert)], ["[fd00::1]", "CA", "CERT"]);
  assert.equal(access.authorization(), "Bearer one");
  writeFileSync(join(folder, "token"), "two");
  assert.equal(access.authorization(), "Bearer two", "a renewed token is read");
  const faults: readonly (readonly [string, RegExp])[] = [
    [join(folder, "missing"), /ENOENT.*kubeconfig file/],
    ["{}", /no current-context/],
    ["a: [\n", /flow/i],
    ['{"current-context": "x"}', /no context "x"/],
    [config({ exec: {} }, { "certificate-authority": "" }), /from a program \(exec\)/],
    [config({}, { server: "nowhere" }), /"nowhere" is no URL/],
    [config({}, { "certificate-authority": "gone.pem" }), /certificate-authority: .*ENOENT/],
  ];
  for (const [text, expected] of faults) assert.throws(() => readKubeconfig(text), expected);
});

test("a kubeconfig's one context as text that stands alone, and the same cluster at another address", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "kubeconfig-"));
  t.after(() => rmSync(folder, { recursive: true }));
  for (const file of ["ca.pem", "key.pem", "token"]) writeFileSync(join(folder, file), file);
  const path = join(folder, "config");
  const cluster = (name: string) => ({ name, cluster: { server: `https://${name}:6443/k8s/`, "certificate-authority": "ca.pem" } });
  const document = {
    "current-context": "a",
    contexts: ["a", "b"].map((name) => ({ name, context: { cluster: name, user: name } })),
    clusters: ["a", "b"].map(cluster),
    users: [
      { name: "a", user: { tokenFile: "token", "client-key": "key.pem", "client-certificate-data": "Q0VSVA==" } },
      { name: "b", user: { token: "secret-of-b" } },
    ],
  };
  writeFileSync(path, JSON.stringify(document));
  const text = flattenKubeconfig(path);
  assert.ok(!text.includes("secret-of-b"), "nothing of other contexts");
  rmSync(join(folder, "ca.pem"));
  rmSync(join(folder, "key.pem"));
  const access = readKubeconfig(text);
  assert.deepEqual(
    [access.server.hostname, String(access.tls.ca), String(access.tls.cert), String(access.tls.key)],
    ["a", "ca.pem", "CERT", "key.pem"],
  );
  assert.equal(access.authorization(), "Bearer token", "a token that is renewed in its file is read there");
  const moved = readKubeconfig(redirectKubeconfig(text, "[fd00::1]:443"));
  assert.deepEqual([moved.server.href, moved.tls.servername], ["https://[fd00::1]/k8s", "a"]);
  assert.throws(() => flattenKubeconfig(path, "c"), /no context "c"/);
});

test("a patch that is refused says why", async (t) => {
  const server = createServer((request, response) => {
    assert.equal(request.headers["content-type"], "application/merge-patch+json");
    response.writeHead(409).end('{"message":"the object has been modified"}');
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const access = { server: new URL(`http://127.0.0.1:${port}/prefix/`), tls: { rejectUnauthorized: true }, authorization: () => undefined };
  await assert.rejects(
    patchObject({ kubeconfig: access, resource: NODES, name: "n", patch: {} }),
    /PATCH http:.*\/prefix\/api\/v1\/nodes\/n: the object has been modified/,
  );
});
