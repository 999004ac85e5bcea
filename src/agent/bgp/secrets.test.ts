import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../../test/patience.ts";
import type { ObjectApi } from "../../cluster/index.ts";
import { secretsFromApi } from "./secrets.ts";

const secret = (values: Record<string, string>) => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "bgp" },
  data: Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString("base64")])),
});

test("named Secrets alone are asked for, in both namespaces, also where one may not be read; a change is told", async () => {
  const asked: string[] = [];
  const log: string[] = [];
  let stored: ReturnType<typeof secret> | undefined;
  const api = {
    async get(_: unknown, name: string, namespace: string) {
      asked.push(`${namespace}/${name}`);
      if (namespace === "calico-system") throw new Error("forbidden");
      return stored;
    },
  } as unknown as ObjectApi;
  const secrets = secretsFromApi(api, (message) => log.push(message));
  let changes = 0;
  secrets.follow(["bgp"], () => changes++);
  await until(() => log.length > 0);
  assert.match(log[0] ?? "", /Secret bgp: forbidden/);
  assert.equal(secrets.get("bgp"), undefined);
  stored = secret({ mesh: "pass" });
  await until(() => changes === 1);
  assert.deepEqual(secrets.get("bgp"), { mesh: "pass" });
  assert.deepEqual([...new Set(asked)].sort(), ["calico-system/bgp", "kube-system/bgp"]);
  secrets.follow([], () => changes++);
  assert.equal(secrets.get("bgp"), undefined);
  secrets.close();
});

test("without an API there are none", () => {
  const secrets = secretsFromApi(undefined, () => {});
  secrets.follow(["bgp"], () => assert.fail());
  assert.equal(secrets.get("bgp"), undefined);
  secrets.close();
});
