import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, test } from "node:test";
import { until } from "../../test/patience.ts";
import { makePki } from "../../test/pki.ts";
import { ChangeSource, type ClusterSource } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { parseRelays, type RelayClientOptions, type RelaySource, sourceFromRelay } from "./client.ts";
import { checkRelay, type Relay, type RelayOptions, startRelay } from "./server.ts";

const closers: (() => unknown)[] = [];
after(async () => {
  for (const close of closers.reverse()) await close();
});

const service = (name: string, version = "1", size = 0): KubeObject => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { namespace: "shop", name, resourceVersion: version, ...(size > 0 ? { annotations: { big: "x".repeat(size) } } : {}) },
});

function cluster(...objects: KubeObject[]): ChangeSource {
  const source = new ChangeSource();
  source.change(objects.map((object) => ({ type: "ADDED", object })));
  source.markSynced();
  return source;
}

async function relay(source: ChangeSource, options: Partial<RelayOptions> = {}): Promise<Relay> {
  const started = await startRelay({ source, listen: { host: "127.0.0.1", port: 0 }, ...options });
  closers.push(() => started.close());
  return started;
}

function agent(relays: readonly Relay[], options: Partial<RelayClientOptions> = {}): RelaySource & { readonly problems: string[] } {
  const problems: string[] = [];
  const scheme = options.tls ? "https" : "http";
  const source = sourceFromRelay({
    relays: relays.map(({ port }) => new URL(`${scheme}://127.0.0.1:${port}`)),
    node: "n1",
    onProblem: (problem) => problems.push(problem),
    pause: () => 20,
    ...options,
  });
  closers.push(() => source.close());
  return Object.assign(source, { problems });
}

const names = (source: ClusterSource) => (source.synced ? [...source.snapshot.services.values()].map(({ metadata }) => metadata.name) : []);
const has = (source: ClusterSource, ...wanted: string[]) => names(source).join() === wanted.join();

test("an agent follows a relay: what is, what changes, what goes", async () => {
  const source = cluster(service("a"), service("b"));
  const follower = agent([await relay(source)]);
  await until(() => has(follower, "a", "b"));
  source.change([
    { type: "ADDED", object: service("c") },
    { type: "DELETED", object: service("a") },
    { type: "MODIFIED", object: service("b", "7") },
  ]);
  await until(() => has(follower, "b", "c"));
  assert.equal(follower.snapshot.services.get("shop/b")?.metadata.resourceVersion, "7");
  assert.match(follower.relay ?? "", /^127.0.0.1:/);
});

test("agents of a replica that ends, or dies, move to another without a gap: nothing known is forgotten, nothing missed", async () => {
  const source = cluster(service("a"), service("b"));
  const replicas = [await relay(source), await relay(source), await relay(source)];
  const agents = Array.from({ length: 12 }, () => agent(replicas));
  await until(() => agents.every((each) => has(each, "a", "b")));
  const gaps: string[] = [];
  for (const each of agents) each.subscribe((snapshot) => void (snapshot.services.size < 2 && gaps.push("forgotten")));
  await replicas[0]?.close();
  source.change([{ type: "ADDED", object: service("c") }]);
  await until(
    () => agents.every((each) => has(each, "a", "b", "c")),
    () => JSON.stringify(agents.map(({ problems }) => problems)),
  );
  await replicas[1]?.close();
  source.change([{ type: "DELETED", object: service("c") }]);
  await until(() => agents.every((each) => has(each, "a", "b")));
  await until(() => replicas[2]?.status.agents === 12);
  assert.deepEqual(gaps, []);
});

test("what changed while an agent was between two replicas is told by the next: also what went", async () => {
  const first = await relay(cluster(service("a"), service("b")));
  // It has not read the cluster yet, and refuses.
  const source = new ChangeSource();
  const follower = agent([first, await relay(source)]);
  await until(() => has(follower, "a", "b"));
  const before = follower.problems.length;
  await first.close();
  await until(() => follower.problems.length > before);
  assert.ok(has(follower, "a", "b"), "meanwhile it knows what it knew");
  source.change([{ type: "ADDED", object: service("b", "2") }]);
  source.markSynced();
  await until(() => has(follower, "b"));
});

test("a replica that is going takes no agent: what it knows gets old", async () => {
  const source = cluster(service("a"));
  const replica = await relay(source);
  await until(() => replica.status.synced);
  // It has half of the question when it begins to go.
  const late = connect(replica.port, "127.0.0.1");
  late.write("GET /healthz HTTP/1.1\r\nhost: relay\r\n\r\nGET /stream?node=n1 HTTP/1.1\r\n");
  await once(late, "data");
  const closed = replica.close();
  late.write("host: relay\r\nconnection: close\r\n\r\n");
  let said = "";
  for await (const chunk of late) said += chunk;
  assert.match(said, /^HTTP\/1\.1 503 /);
  await closed;
});

test("mutual TLS: whose certificate another authority signed is refused, and so is who has none", async () => {
  const [pki, other] = [await makePki(), await makePki()];
  const replica = await relay(cluster(service("a")), { tls: { ...pki.server, clientCa: pki.ca } });
  const good = agent([replica], { tls: { ca: pki.ca, ...pki.client } });
  await until(
    () => has(good, "a"),
    () => good.problems.join(),
  );
  const strange = agent([replica], { tls: { ca: pki.ca, ...other.client } });
  const bare = agent([replica], { tls: { ca: pki.ca } });
  const distrusting = agent([replica], { tls: { ca: other.ca, ...pki.client } });
  await until(() => [strange, bare, distrusting].every(({ problems }) => problems.length > 1));
  assert.match(strange.problems.join() + bare.problems.join(), /401/);
  assert.match(distrusting.problems[0] ?? "", /certificate/);
  assert.ok([strange, bare, distrusting].every(({ synced }) => !synced));
});

test("a token, read anew for each connection", async () => {
  const pki = await makePki();
  let token = "first";
  const replica = await relay(cluster(service("a")), { tls: pki.server, token: () => token });
  const wrong = agent([replica], { tls: { ca: pki.ca }, token: () => "second" });
  await until(() => wrong.problems.length > 0);
  assert.match(wrong.problems[0] ?? "", /401/);
  token = "second";
  await until(() => has(wrong, "a"));
});

test("a relay without TLS or without credentials is refused, unless it is meant", () => {
  assert.throws(() => checkRelay({}), { code: "open-relay" });
  assert.throws(() => checkRelay({ token: () => "x" }), { code: "open-relay" });
  const tls = { cert: Buffer.alloc(0), key: Buffer.alloc(0) };
  assert.throws(() => checkRelay({ tls }), { code: "open-relay" });
  checkRelay({ tls, token: () => "x" });
  checkRelay({ tls: { ...tls, clientCa: Buffer.alloc(0) } });
});

test("relays are named by host and port, or URL; several by commas", () => {
  assert.deepEqual(
    parseRelays("relay:5473, [fd00::1]:5473,http://127.0.0.1:1").map(({ href }) => href),
    ["https://relay:5473/", "https://[fd00::1]:5473/", "http://127.0.0.1:1/"],
  );
  for (const bad of ["", "a b:1", "http://", "relay:port"]) assert.throws(() => parseRelays(bad), { code: "bad-relay" }, bad);
});

test("an agent that takes nothing holds a bounded part of what changes, and is let go in the end; others do not wait", async () => {
  const source = cluster(service("a"));
  const replica = await relay(source, { patience: 1000 });
  const quick = agent([replica]);
  const slow = connect(replica.port, "127.0.0.1");
  slow.on("error", () => {});
  slow.pause();
  slow.write("GET /stream?node=n2 HTTP/1.1\r\nhost: relay\r\n\r\n");
  await until(() => replica.status.agents === 2);
  let most = 0;
  for (let round = 0; round < 40; round++) {
    source.change(Array.from({ length: 20 }, (_, i) => ({ type: "MODIFIED", object: service(`s${i}`, String(round), 50_000) })));
    await new Promise((resolve) => setTimeout(resolve, 5));
    most = Math.max(most, replica.status.waiting);
  }
  const newest = () =>
    [...(quick.synced ? quick.snapshot.services.values() : [])].filter(({ metadata }) => metadata.resourceVersion === "39");
  await until(() => newest().length === 20);
  // Both may have waited: each for no more than there are objects.
  assert.ok(most > 0 && most <= 42, String(most));
  await until(
    () => replica.status.dropped === 1,
    () => JSON.stringify(replica.status),
  );
  assert.equal(replica.status.agents, 1);
});

test("what is asked wrongly is told so; health and metrics need no credentials, or the same", async () => {
  const source = new ChangeSource();
  const replica = await relay(source, { token: () => "x" });
  const get = async (path: string, token?: string) => {
    const response = await fetch(`http://127.0.0.1:${replica.port}${path}`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
    return [response.status, await response.text()] as const;
  };
  assert.deepEqual(await get("/healthz"), [200, "ok\n"]);
  assert.equal((await get("/readyz"))[0], 503);
  assert.equal((await get("/stream?node=a"))[0], 401);
  assert.equal((await get("/stream?node=a", "x"))[0], 503);
  source.markSynced();
  await until(() => replica.status.synced);
  assert.equal((await get("/readyz"))[0], 200);
  assert.equal((await get("/stream", "x"))[0], 400);
  assert.equal((await get("/other", "x"))[0], 404);
  assert.match((await get("/metrics", "x"))[1], /^fairlead_relay_agents 0$/m);
});
