// Protobuf bodies: what Go clients send becomes the object that they mean; any bytes give an object or a clear refusal.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ApiError } from "../errors.ts";
import { decodeProtobuf } from "./protobuf.ts";

const varint = (value: bigint): number[] => {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, value);
  do {
    bytes.push(Number(left & 127n) | (left > 127n ? 128 : 0));
    left >>= 7n;
  } while (left > 0n);
  return bytes;
};
const number = (field: number, value: number | bigint) => Buffer.from([...varint(BigInt(field * 8)), ...varint(BigInt(value))]);
const bytes = (field: number, ...parts: (Buffer | string)[]) => {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([...varint(BigInt(field * 8 + 2)), ...varint(BigInt(body.length))]), body]);
};
const envelope = (apiVersion: string, kind: string, ...body: Buffer[]) =>
  Buffer.concat([Buffer.from("k8s\0"), bytes(1, bytes(1, apiVersion), bytes(2, kind)), bytes(2, ...body)]);

test("objects as Go clients send them", () => {
  const cases: readonly (readonly [Buffer, object])[] = [
    [
      envelope(
        "v1",
        "ConfigMap",
        bytes(1, bytes(1, "a"), bytes(3, "default"), bytes(8)),
        bytes(2, bytes(1, "k"), bytes(2, "v")),
        bytes(2, bytes(1, "e")),
      ),
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", namespace: "default" }, data: { k: "v", e: "" } },
    ],
    [
      envelope(
        "apps/v1",
        "Deployment",
        bytes(1, bytes(1, "web")),
        // replicas 0 is said, and means something; hostPort 0 of a port is Go's way to say nothing.
        bytes(2, number(1, 0), bytes(3, bytes(1), bytes(2, bytes(2, bytes(6, number(2, 0), number(3, 80)))))),
      ),
      {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name: "web" },
        spec: { replicas: 0, template: { spec: { containers: [{ ports: [{ containerPort: 80 }] }] } } },
      },
    ],
    [
      envelope(
        "v1",
        "Service",
        bytes(2, bytes(1, number(3, 80), bytes(4, number(1, 1), bytes(3, "http"))), bytes(1, number(3, 81), bytes(4, number(2, 8081)))),
      ),
      {
        apiVersion: "v1",
        kind: "Service",
        spec: {
          ports: [
            { port: 80, targetPort: "http" },
            { port: 81, targetPort: 8081 },
          ],
        },
      },
    ],
    [
      envelope("v1", "Pod", bytes(2, bytes(2, bytes(8, bytes(1, bytes(1, "cpu"), bytes(2, bytes(1, "100m"))))))),
      { apiVersion: "v1", kind: "Pod", spec: { containers: [{ resources: { limits: { cpu: "100m" } } }] } },
    ],
    [
      envelope("coordination.k8s.io/v1", "Lease", bytes(2, number(2, 40), bytes(4, number(1, 1_700_000_000), number(2, 5000)))),
      { apiVersion: "coordination.k8s.io/v1", kind: "Lease", spec: { leaseDurationSeconds: 40, renewTime: "2023-11-14T22:13:20.000005Z" } },
    ],
  ];
  for (const [given, expected] of cases) assert.deepEqual(JSON.parse(JSON.stringify(decodeProtobuf(given))), expected);
});

test("any bytes give an object or a refusal", () => {
  const kinds = fc.constantFrom("Pod", "Deployment", "Service", "ConfigMap", "Job", "Ingress", "Lease");
  fc.assert(
    fc.property(kinds, fc.uint8Array({ maxLength: 200 }), fc.boolean(), (kind, noise, wrapped) => {
      const given = wrapped ? envelope("v1", kind, Buffer.from(noise)) : Buffer.concat([Buffer.from("k8s\0"), Buffer.from(noise)]);
      try {
        decodeProtobuf(given);
      } catch (error) {
        assert.ok(error instanceof ApiError && error.httpCode < 500, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});
