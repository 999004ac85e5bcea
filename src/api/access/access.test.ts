// Who may do what: roles and bindings, tokens and certificates, impersonation, and that nobody gives away more than they have.
import assert from "node:assert/strict";
import { request } from "node:https";
import { test } from "node:test";
import type { KubeObject } from "../../resources/index.ts";
import { type ApiServer, kindRules, SqliteStore, startApiServer, startControllers } from "../index.ts";

interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly body?: object;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly tls?: { readonly cert: string; readonly key: string };
}

interface Answer {
  readonly code: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers of many kinds
  readonly json: any;
}

function ask(server: ApiServer, { method = "GET", path, body, token, headers = {}, tls = {} as never }: Ask): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const own = { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}), ...headers };
    const call = request(`${server.url}${path}`, { method, ca: server.caPem, headers: own, agent: false, ...tls }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ code: response.statusCode ?? 0, json: text.startsWith("{") ? JSON.parse(text) : text }));
    });
    call.on("error", reject);
    call.end(body && JSON.stringify(body));
  });
}

const RBAC = "/apis/rbac.authorization.k8s.io/v1";
const role = (name: string, rules: readonly object[]) => ({ metadata: { name }, rules });
const binding = (name: string, roleRef: object, ...subjects: object[]) => ({ metadata: { name }, roleRef, subjects });
const cluster = (name: string) => ({ kind: "ClusterRole", name, apiGroup: "rbac.authorization.k8s.io" });

async function setUp(t: { after(done: () => unknown): void }) {
  const store = new SqliteStore({ path: ":memory:", rules: kindRules });
  const serving = startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
  const controllers = startControllers({ store, podCidrs: ["10.244.0.0/16"], nodeMask: { 4: 24, 6: 64 }, log: () => {}, serving });
  const server = await serving;
  t.after(async () => {
    controllers.close();
    await server.close();
    store.close();
  });
  const admin = (method: string, path: string, body?: object) =>
    ask(server, { method, path, token: server.token, ...(body ? { body } : {}) });
  const settled = async () => {
    do await new Promise((resolve) => setTimeout(resolve, 10));
    while (!controllers.idle);
  };
  await settled();
  return { server, store, admin, settled };
}

test("a service account may do what its roles say, and no more", async (t) => {
  const { server, admin, settled } = await setUp(t);
  await admin("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
  await admin("POST", "/api/v1/namespaces/shop/serviceaccounts", { metadata: { name: "bob" } });
  const { json: made } = await admin("POST", "/api/v1/namespaces/shop/serviceaccounts/bob/token", { spec: { expirationSeconds: 600 } });
  const token = made.status.token as string;
  const bob = (method: string, path: string, body?: object) => ask(server, { method, path, token, ...(body ? { body } : {}) });
  const pods = "/api/v1/namespaces/shop/pods";
  const map = { metadata: { name: "m" } };

  assert.equal((await bob("GET", "/version")).code, 200, "discovery is for everybody who is known");
  const refused = await bob("GET", pods);
  assert.equal(refused.code, 403);
  assert.equal(
    refused.json.message,
    'pods is forbidden: User "system:serviceaccount:shop:bob" cannot list resource "pods" in API group "" in the namespace "shop"',
  );

  await admin(
    "POST",
    `${RBAC}/namespaces/shop/rolebindings`,
    binding("view", cluster("view"), { kind: "ServiceAccount", name: "bob", namespace: "shop" }),
  );
  await settled();
  const rows: readonly (readonly [string, string, object | undefined, number])[] = [
    ["GET", pods, undefined, 200],
    ["GET", `${pods}?watch=true&timeoutSeconds=1`, undefined, 200],
    ["GET", "/api/v1/namespaces/default/pods", undefined, 403],
    ["GET", "/api/v1/pods", undefined, 403],
    ["GET", "/api/v1/namespaces/shop/secrets", undefined, 403],
    ["POST", "/api/v1/namespaces/shop/configmaps", map, 403],
    ["DELETE", `${pods}/x`, undefined, 403],
    ["GET", `${pods}/x/log`, undefined, 404],
  ];
  for (const [method, path, body, code] of rows) assert.equal((await bob(method, path, body)).code, code, `${method} ${path}`);

  await admin(
    "POST",
    `${RBAC}/namespaces/shop/roles`,
    role("one-map", [{ apiGroups: [""], resources: ["configmaps"], resourceNames: ["m"], verbs: ["patch", "get"] }]),
  );
  await admin(
    "POST",
    `${RBAC}/namespaces/shop/rolebindings`,
    binding("one", { kind: "Role", name: "one-map" }, { kind: "Group", name: "system:serviceaccounts:shop" }),
  );
  await admin("POST", "/api/v1/namespaces/shop/configmaps", map);
  const patch = { path: "/api/v1/namespaces/shop/configmaps/m", method: "PATCH", body: { data: { a: "1" } }, token };
  const headers = { "content-type": "application/merge-patch+json" };
  assert.equal((await ask(server, { ...patch, headers })).code, 200);
  assert.equal((await ask(server, { ...patch, headers, path: `${patch.path}x` })).code, 403);

  const review = { spec: { resourceAttributes: { verb: "delete", resource: "pods", namespace: "shop" } } };
  const own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
  assert.equal((await bob("POST", own, review)).json.status.allowed, false);
  assert.equal((await admin("POST", own, review)).json.status.allowed, true);
  const reviewed = await admin("POST", "/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token } });
  assert.equal(reviewed.json.status.user.username, "system:serviceaccount:shop:bob");

  await admin("DELETE", "/api/v1/namespaces/shop/serviceaccounts/bob");
  assert.equal((await bob("GET", "/version")).code, 401, "the token goes with the account");
});

test("nobody is anonymous, and no token but ours holds", async (t) => {
  const { server } = await setUp(t);
  const parts = server.issueToken({ namespace: "default", account: "default", seconds: 600 }).split(".");
  const claims = JSON.parse(Buffer.from(parts[1] ?? "", "base64url").toString()) as Record<string, unknown>;
  const forged = [
    parts[0],
    Buffer.from(JSON.stringify({ ...claims, sub: "system:serviceaccount:kube-system:default" })).toString("base64url"),
    parts[2],
  ].join(".");
  const unsigned = [Buffer.from('{"alg":"none"}').toString("base64url"), parts[1], ""].join(".");
  for (const token of [undefined, "", "x", "a.b.c", forged, unsigned, parts.slice(0, 2).join(".")])
    assert.equal((await ask(server, { path: "/api/v1/pods", ...(token === undefined ? {} : { token }) })).code, 401, String(token));
  assert.equal((await ask(server, { path: "/healthz" })).code, 200);
});

test("a certificate's common name is the user, its organisations the groups", async (t) => {
  const { server, admin } = await setUp(t);
  const config = JSON.parse(await server.kubeconfigOf("lab", "jane", ["devs", "ops"])) as { users: { user: Record<string, string> }[] };
  const pem = (field: string) => Buffer.from(config.users[0]?.user[field] ?? "", "base64").toString();
  const tls = { cert: pem("client-certificate-data"), key: pem("client-key-data") };
  const who = await ask(server, { method: "POST", path: "/apis/authentication.k8s.io/v1/selfsubjectreviews", body: {}, tls });
  assert.deepEqual(who.json.status.userInfo, { username: "jane", groups: ["devs", "ops", "system:authenticated"] });
  assert.equal((await ask(server, { path: "/api/v1/nodes", tls })).code, 403);
  await admin("POST", `${RBAC}/clusterrolebindings`, binding("ops", cluster("cluster-admin"), { kind: "Group", name: "ops" }));
  assert.equal((await ask(server, { path: "/api/v1/nodes", tls })).code, 200);
  const other = await setUp(t);
  assert.equal((await ask(other.server, { path: "/api/v1/nodes", tls })).code, 401, "another authority's certificate proves nothing");
});

test("to speak for others is a right of its own", async (t) => {
  const { server, admin, settled } = await setUp(t);
  const token = server.issueToken({ namespace: "default", account: "default", seconds: 600 });
  const as = (headers: Readonly<Record<string, string>>, sender: string) =>
    ask(server, { method: "POST", path: "/apis/authentication.k8s.io/v1/selfsubjectreviews", body: {}, token: sender, headers });
  assert.equal((await as({ "impersonate-user": "jane" }, token)).code, 403);
  assert.equal((await as({ "impersonate-group": "system:masters" }, token)).code, 400);
  const { json } = await as({ "impersonate-user": "system:serviceaccount:shop:bob" }, server.token);
  assert.deepEqual(json.status.userInfo.groups, ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]);
  await admin(
    "POST",
    `${RBAC}/clusterroles`,
    role("janes", [{ apiGroups: [""], resources: ["users"], resourceNames: ["jane"], verbs: ["impersonate"] }]),
  );
  await admin(
    "POST",
    `${RBAC}/clusterrolebindings`,
    binding("janes", cluster("janes"), { kind: "ServiceAccount", name: "default", namespace: "default" }),
  );
  await settled();
  assert.equal((await as({ "impersonate-user": "jane" }, token)).json.status.userInfo.username, "jane");
  assert.equal((await as({ "impersonate-user": "jim" }, token)).code, 403);
});

test("nobody gives away more than they have", async (t) => {
  const { server, admin, settled } = await setUp(t);
  const token = server.issueToken({ namespace: "default", account: "default", seconds: 600 });
  const subject = { kind: "ServiceAccount", name: "default", namespace: "default" };
  await admin("POST", `${RBAC}/namespaces/default/rolebindings`, binding("admin", cluster("admin"), subject));
  await settled();
  const write = (path: string, body: object) => ask(server, { method: "POST", path, body, token });
  const roles = `${RBAC}/namespaces/default/roles`;
  assert.equal((await write(roles, role("mine", [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }]))).code, 201);
  const refused = await write(roles, role("more", [{ apiGroups: [""], resources: ["nodes"], verbs: ["delete"] }]));
  assert.equal(refused.code, 403);
  assert.match(refused.json.message, /attempting to grant RBAC permissions not currently held: delete nodes/);
  assert.equal((await write(`${RBAC}/namespaces/default/rolebindings`, binding("b", cluster("cluster-admin"), subject))).code, 403);
  assert.equal((await write(`${RBAC}/namespaces/default/rolebindings`, binding("b", cluster("view"), subject))).code, 201);
});

test("roles that gather have the rules of those with the label", async (t) => {
  const { store, admin, settled } = await setUp(t);
  const rules = [{ apiGroups: ["harbour.example"], resources: ["boats"], verbs: ["get"] }];
  await admin("POST", `${RBAC}/clusterroles`, {
    ...role("boats", rules),
    metadata: { name: "boats", labels: { "rbac.authorization.k8s.io/aggregate-to-view": "true" } },
  });
  await settled();
  await settled();
  for (const name of ["view", "edit", "admin"]) {
    const found = store.get<KubeObject & { rules: { resources?: string[] }[] }>(
      { group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles" },
      undefined,
      name,
    );
    assert.ok(
      found?.rules.some(({ resources }) => resources?.includes("boats")),
      name,
    );
  }
});
