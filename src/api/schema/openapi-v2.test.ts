// OpenAPI v2: the protobuf form says what the JSON form says, and an older kubectl's own validation works with it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { parse, stringify } from "yaml";
import { type ApiServer, type Controllers, SqliteStore, startApiServer, startControllers } from "../index.ts";

type Fields = ReadonlyMap<number, readonly (Buffer | number)[]>;

/** Any protobuf message, by field number. */
function decode(bytes: Buffer): Fields {
  const fields = new Map<number, (Buffer | number)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? assert.fail("the message ends within a number");
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    const length = wire === 2 ? varint() : wire === 1 ? 8 : 0;
    const value = wire === 0 ? varint() : bytes.subarray(at, at + length);
    assert.ok(at + length <= bytes.length && wire <= 2, "the message ends within a field");
    at += length;
    const number = Math.floor(tag / 8);
    fields.set(number, [...(fields.get(number) ?? []), wire === 1 ? (value as Buffer).readDoubleLE() : value]);
  }
  return fields;
}

const all = (fields: Fields, number: number) => (fields.get(number) ?? []) as readonly Buffer[];
const message = (fields: Fields, number: number) => decode(all(fields, number)[0] ?? Buffer.alloc(0));
const text = (fields: Fields, number: number) => all(fields, number)[0]?.toString("utf8");

/** A list of NamedSchema, as the JSON form has it. */
function namedSchemas(fields: Fields): Record<string, unknown> {
  return Object.fromEntries(
    all(fields, 1).map((bytes) => {
      const named = decode(bytes);
      return [text(named, 1), schemaOf(message(named, 2))];
    }),
  );
}

/** A Schema, as the JSON form has it (numbers as in gnostic's OpenAPIv2.proto). */
function schemaOf(fields: Fields): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  const texts = { 1: "$ref", 2: "format", 3: "title", 4: "description", 13: "pattern" } as const;
  const numbers = {
    7: "maximum",
    9: "minimum",
    11: "maxLength",
    12: "minLength",
    14: "maxItems",
    15: "minItems",
    17: "maxProperties",
    18: "minProperties",
  };
  for (const [number, name] of Object.entries(texts)) if (fields.has(Number(number))) result[name] = text(fields, Number(number));
  for (const [number, name] of Object.entries(numbers)) if (fields.has(Number(number))) result[name] = fields.get(Number(number))?.[0];
  for (const [number, name] of [
    [8, "exclusiveMaximum"],
    [10, "exclusiveMinimum"],
    [16, "uniqueItems"],
  ] as const)
    if (fields.has(number)) result[name] = fields.get(number)?.[0] === 1;
  if (fields.has(6)) result.multipleOf = fields.get(6)?.[0];
  if (fields.has(19)) result.required = all(fields, 19).map(String);
  if (fields.has(21)) {
    const item = message(fields, 21);
    result.additionalProperties = item.has(2) ? item.get(2)?.[0] === 1 : schemaOf(message(item, 1));
  }
  if (fields.has(22)) result.type = text(message(fields, 22), 1);
  if (fields.has(23)) result.items = schemaOf(message(message(fields, 23), 1));
  if (fields.has(25)) result.properties = namedSchemas(message(fields, 25));
  for (const extension of all(fields, 31).map(decode)) result[text(extension, 1) ?? ""] = parse(text(message(extension, 2), 2) ?? "");
  return result;
}

describe("OpenAPI v2", () => {
  const folder = mkdtempSync(join(tmpdir(), "openapi-"));
  const store = new SqliteStore({ path: ":memory:" });
  let server: ApiServer;
  let controllers: Controllers;
  let config: {
    readonly clusters: { cluster: Record<string, unknown> }[];
    readonly users: readonly { readonly user: { readonly token: string } }[];
  };
  let token = "";

  before(async () => {
    server = await startApiServer({ store, listen: { host: "127.0.0.1", port: 0 } });
    config = parse(server.kubeconfig("test"));
    token = config.users[0]?.user.token ?? "";
    controllers = startControllers({ store, podCidrs: ["10.244.0.0/16"], nodeMask: { 4: 24, 6: 64 }, log: () => {} });
    store.create({ group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions" }, {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "pods.boats.example" },
      spec: {
        group: "boats.example",
        scope: "Namespaced",
        names: { kind: "Pod", plural: "pods", singular: "pod" },
        versions: [
          {
            name: "v1",
            served: true,
            storage: true,
            schema: {
              openAPIV3Schema: {
                type: "object",
                properties: {
                  spec: {
                    type: "object",
                    required: ["masts"],
                    properties: {
                      masts: { type: "integer", minimum: 1, maximum: 2.5 },
                      open: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { a: { type: "string" } } },
                      names: { type: "array", maxItems: 300, items: { type: "string", pattern: "^a" } },
                      sizes: { type: "object", additionalProperties: { "x-kubernetes-int-or-string": true } },
                    },
                  },
                },
              },
            },
          },
        ],
      },
    } as never);
    while (!controllers.idle) await new Promise((resolve) => setTimeout(resolve, 10));
  });
  after(async () => {
    controllers.close();
    await server.close();
    store.close();
    rmSync(folder, { recursive: true });
  });

  const ask = (path: string, accept: string, method = "GET") =>
    new Promise<{ readonly type: string; readonly body: Buffer }>((resolve, reject) => {
      const url = new URL(path, server.url);
      const call = httpsRequest(
        url,
        { method, rejectUnauthorized: false, headers: { accept, authorization: `Bearer ${token}` } },
        async (answer) => {
          const chunks: Buffer[] = [];
          for await (const chunk of answer) chunks.push(chunk);
          resolve({ type: answer.headers["content-type"] ?? "", body: Buffer.concat(chunks) });
        },
      );
      call.on("error", reject).end();
    });

  for (const asked of [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
  ])
    test(`asked for ${asked}: the document of the JSON form`, async () => {
      const json = JSON.parse((await ask("/openapi/v2", "application/json")).body.toString());
      const { type, body } = await ask("/openapi/v2", asked);
      assert.equal(type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", "a media type that Go's parser takes");
      const document = decode(body);
      assert.equal(text(document, 1), "2.0");
      assert.equal(text(message(document, 2), 1), json.info.title);
      const definitions = namedSchemas(message(document, 9));
      assert.ok(Object.keys(definitions).length > 200);
      assert.deepEqual(definitions, json.definitions);
      assert.deepEqual(definitions["boats.example.v1.Pod"], {
        type: "object",
        "x-kubernetes-group-version-kind": [{ group: "boats.example", version: "v1", kind: "Pod" }],
        properties: {
          apiVersion: { type: "string" },
          kind: { type: "string" },
          metadata: { $ref: "#/definitions/ObjectMeta" },
          spec: {
            type: "object",
            required: ["masts"],
            properties: {
              masts: { type: "integer", minimum: 1, maximum: 2.5 },
              open: { type: "object" },
              names: { type: "array", maxItems: 300, items: { type: "string", pattern: "^a" } },
              sizes: { type: "object", additionalProperties: { type: "string", format: "int-or-string" } },
            },
          },
        },
      });
    });

  test("every reference leads somewhere, and every kind is described once", async () => {
    const { definitions } = JSON.parse((await ask("/openapi/v2", "application/json")).body.toString());
    for (const [, name = ""] of JSON.stringify(definitions).matchAll(/"\$ref":"#\/definitions\/([^"]+)"/g))
      assert.ok(definitions[name], name);
    const kinds = Object.values(definitions as Record<string, Record<string, readonly object[]>>).flatMap(
      (schema) => schema["x-kubernetes-group-version-kind"] ?? [],
    );
    assert.equal(new Set(kinds.map((kind) => JSON.stringify(kind))).size, kinds.length);
    assert.ok(kinds.length > 60);
  });

  test("a client without OpenAPI v3 finds wrong fields by itself", async (t) => {
    // Between kubectl and the server, OpenAPI v3 is not there, as before Kubernetes 1.23: validation is the client's, and writes never come.
    const writes: string[] = [];
    const asked: string[] = [];
    const older = createServer((incoming: IncomingMessage, outgoing) => {
      const path = incoming.url ?? "/";
      if (path.startsWith("/openapi/v3")) return void outgoing.writeHead(404).end();
      if (incoming.method !== "GET") writes.push(`${incoming.method} ${path}`);
      asked.push(path);
      const headers = { ...incoming.headers, authorization: `Bearer ${token}` };
      const call = httpsRequest(
        new URL(path, server.url),
        { method: incoming.method ?? "GET", headers, rejectUnauthorized: false },
        (answer) => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(outgoing);
        },
      );
      incoming.pipe(call.on("error", () => outgoing.destroy()));
    });
    await new Promise<void>((resolve) => older.listen(0, "127.0.0.1", resolve));
    t.after(() => older.close());
    const [cluster] = config.clusters;
    assert.ok(cluster);
    const url = `http://127.0.0.1:${(older.address() as AddressInfo).port}`;
    writeFileSync(join(folder, "config"), stringify({ ...config, clusters: [{ ...cluster, cluster: { server: url } }] }));
    const create = (object: object) =>
      new Promise<string>((resolve) => {
        writeFileSync(join(folder, "object.json"), JSON.stringify(object));
        const words = ["--kubeconfig", join(folder, "config"), "--cache-dir", join(folder, "cache"), "create", "--validate=true", "-f"];
        execFile("kubectl", [...words, join(folder, "object.json")], { timeout: 120_000 }, (error, out, err) =>
          resolve(error?.code === "ENOENT" ? "absent" : `${out}${err}`),
        );
      });
    const pod = (more: object) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "a" },
      spec: { containers: [{ name: "a", image: "b", ...more }] },
    });
    const wrong = await create(pod({ imagee: "c" }));
    if (wrong === "absent") return t.skip("NOT RUN: kubectl is not on this machine");
    assert.match(wrong, /unknown field "imagee"/);
    assert.match(await create(pod({ ports: "many" })), /invalid type for .*ports/);
    assert.ok(
      asked.some((path) => path.startsWith("/openapi/v2")),
      "it asked for the second version",
    );
    assert.equal(writes.length, 0, "nothing was sent to the server");
    assert.match(await create(pod({ livenessProbe: { httpGet: { port: 80 } } })), /pod\/a created/);
    assert.deepEqual(
      writes.map((line: string) => line.split("?")[0]),
      ["POST /api/v1/namespaces/default/pods"],
    );
    const boat = (spec: object) => ({ apiVersion: "boats.example/v1", kind: "Pod", metadata: { name: "a" }, spec });
    assert.match(await create(boat({ masts: 1, sail: 1 })), /unknown field "sail"/);
    assert.match(await create(boat({ masts: 1, open: { any: 1 }, sizes: { a: 1 } })), /created/);
  });
});
