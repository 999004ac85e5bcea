import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceFromObjects } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { TYPE } from "../message.ts";
import { tellQuery, type WireReply } from "../resolver/query.ts";
import { parseResolvConf } from "../resolver/resolv-conf.ts";
import { formatRecord } from "../text/format.ts";
import { checkCorefile, openOffline } from "./offline.ts";

const objects = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop" },
    spec: { clusterIP: "10.96.1.1", ports: [{ port: 80 }] },
  },
] as unknown as KubeObject[];
const COREFILE = `.:53 {
  errors
  loop
  reload
  kubernetes cluster.local {
    pods insecure
  }
  cache 30
  forward . 192.0.2.53
}
`;

test("a Corefile's answers without a socket: the cluster's names, and whom it would ask for the others", async () => {
  const offline = await openOffline({ corefile: COREFILE, source: sourceFromObjects(objects) });
  const ask = (name: string, type: number = TYPE.A) => offline.ask({ name, type, from: "10.244.0.7", server: "10.96.0.10" });
  const web = await ask("web.shop.svc.cluster.local.");
  assert.deepEqual(
    [web.upstream, web.reply?.by, web.reply?.answers.map(formatRecord)],
    [undefined, "kubernetes", ["web.shop.svc.cluster.local. 5 IN A 10.96.1.1"]],
  );
  assert.equal((await ask("nope.shop.svc.cluster.local.")).reply?.rcode, 3);
  assert.equal((await ask("example.com.")).upstream, "192.0.2.53");
  offline.close();
});

test("checkCorefile: blocks with their plugins in the order in which they are asked; or what is wrong, where", () => {
  assert.deepEqual(checkCorefile("cluster.local:1053 {\n whoami\n errors\n}\n", "Corefile"), [
    { zones: ["cluster.local."], port: 1053, plugins: ["errors", "whoami"] },
  ]);
  assert.throws(
    () => checkCorefile(". {\n forwrd . 1.1.1.1\n}\n", "Corefile"),
    /Corefile:2:2: there is no plugin "forwrd" \(did you mean forward\?/,
  );
});

test("a query as a story: local answers, questions, details afterwards, and what would save some", async () => {
  const replies: Record<string, WireReply> = {
    "web.shop.svc.cluster.local. A": { rcode: 0, records: 1, answers: ["10.96.1.1"], milliseconds: 1 },
    "web.shop.svc.cluster.local. AAAA": { rcode: 0, records: 0, answers: [], milliseconds: 1 },
  };
  const asked: string[] = [];
  const tell = (name: string) =>
    tellQuery({
      name,
      from: "shop/pod",
      resolver: "glibc",
      conf: parseResolvConf("search other.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"),
      types: [TYPE.A, TYPE.AAAA],
      hosts: "127.0.0.1 localhost\n10.244.0.7 pod # itself\n",
      calculated: true,
      exchange: async (ask) => {
        asked.push(ask.name);
        return replies[`${ask.name} ${ask.type === TYPE.A ? "A" : "AAAA"}`] ?? { rcode: 3, records: 0, answers: [], milliseconds: 1 };
      },
      details: (ask) => ({ by: "server", plugin: null, objects: [], says: ask.name }),
    });
  const told = await tell("web.shop");
  assert.deepEqual(
    told.questions.map(({ name, type, rcode, by }) => `${name} ${type} ${rcode} ${by}`),
    [
      "web.shop.other.svc.cluster.local. A NXDOMAIN server",
      "web.shop.other.svc.cluster.local. AAAA NXDOMAIN server",
      "web.shop.svc.cluster.local. A NOERROR server",
      "web.shop.svc.cluster.local. AAAA NOERROR server",
    ],
  );
  assert.deepEqual([told.found, told.addresses], ["web.shop.svc.cluster.local.", ["10.96.1.1"]]);
  assert.deepEqual(
    told.alternatives.map(({ way, questions }) => `${way} ${questions}`),
    ["as configured 4", "trailing dot 2", "autopath 2"],
  );
  asked.length = 0;
  assert.match((await tell("pod")).local ?? "", /\/etc\/hosts/);
  assert.match((await tell("10.1.2.3")).local ?? "", /an address/);
  assert.deepEqual(asked, []);
  assert.equal((await tell("nope")).outcome, "no-name");
});
