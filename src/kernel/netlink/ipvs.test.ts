// IPVS and ipset as bytes and text: fixtures, and decoders that take anything.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { tableTopic } from "./event.ts";
import { decodeFamilyNumber, encodeFamilyQuestion } from "./generic.ts";
import { decodeRevision, decodeSet, encodeCreation, encodeElements } from "./ipset.ts";
import {
  decodeDestination,
  decodeService,
  destinationDump,
  encodeDestination,
  encodeService,
  parseDestinations,
  serviceQuestion,
} from "./ipvs.ts";

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

// As Linux 6.1 lists it.
const LISTING = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0035 wlc 
  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:0035      Masq    5      0          0         
TCP  0A60000A:0035 rr  persistent 25000 FFFFFFFF
  -> 0A000001:0035      Masq    1      2          7         
FWM  00000007 rr 
  -> 0A000009:0035      Masq    1      0          0         
UDP  0A60000A:0035 sh 
`;

test("the listing in /proc", () => {
  assert.deepEqual(
    [...parseDestinations(LISTING)],
    [
      ["tcp [fd00::1]:53", [{ address: "fd00::2", port: 53, weight: 5, active: 0, inactive: 0 }]],
      ["tcp 10.96.0.10:53", [{ address: "10.0.0.1", port: 53, weight: 1, active: 2, inactive: 7 }]],
      ["udp 10.96.0.10:53", []],
    ],
  );
});

const service = { family: 4, protocol: "tcp", address: "10.96.0.80", port: 80 } as const;

test("a service as bytes (linux/ip_vs.h)", () => {
  const bytes = encodeService("add", { ...service, scheduler: "rr", persistence: 60, destinations: [] });
  assert.equal(
    hex(bytes),
    [
      "01010000", // IPVS_CMD_NEW_SERVICE
      "54000180", // the service, nested
      "0600010002000000", // AF_INET
      "0600020006000000", // TCP
      "140003000a600050000000000000000000000000", // its address, in 16 bytes
      "0600040000500000", // port 80
      "0700060072720000", // "rr"
      "0c00070001000000ffffffff", // persistent, and all flags are meant
      "080008003c000000", // 60 s
      "08000900ffffffff", // a client is one address
    ].join(""),
  );
  assert.deepEqual(decodeService(bytes), { ...service, scheduler: "rr", persistence: 60, destinations: [] });
});

test("the questions for one service and for its destinations name it alone", () => {
  const key = "30000180" + "0600010002000000" + "0600020006000000" + "140003000a600050000000000000000000000000" + "0600040000500000";
  assert.equal(hex(serviceQuestion(service)), `04010000${key}`);
  assert.equal(hex(destinationDump(service)), `08010000${key}`);
});

test("a destination as the kernel tells it: of either family in 16 bytes, with its connections", () => {
  const destination = (address: string) =>
    Buffer.from(
      "07010000" + // IPVS_CMD_NEW_DEST
        "40000280" +
        `14000100${address}` +
        "060002001f900000" + // port 8080
        "0800030000000000" + // masquerade
        "0800040003000000" + // weight 3
        "0800070002000000" + // active
        "0800080007000000", // inactive
      "hex",
    );
  const counted = { port: 8080, weight: 3, active: 2, inactive: 7 };
  assert.deepEqual(decodeDestination(destination("0af40102000000000000000000000000"), 4), { address: "10.244.1.2", ...counted });
  assert.deepEqual(decodeDestination(destination("fd001000024400000000000000000002"), 6), { address: "fd00:1000:244::2", ...counted });
});

test("a destination as bytes", () => {
  assert.equal(
    hex(encodeDestination("delete", service, { address: "10.244.1.2", port: 8080, weight: 1 })),
    "07010000" +
      "30000180" +
      "0600010002000000" +
      "0600020006000000" +
      "140003000a600050000000000000000000000000" +
      "0600040000500000" +
      "14000280" +
      "080001000af40102" +
      "060002001f900000",
  );
});

test("the number of a family", () => {
  assert.equal(hex(encodeFamilyQuestion("IPVS")), "03010000" + "090002004950565300000000");
  assert.equal(decodeFamilyNumber(Buffer.from("0102000006000100250000000900020049505653000000" + "00", "hex")), 0x25);
});

test("a set and an element as bytes (linux/netfilter/ipset/ip_set.h): numbers of network order are marked as such", () => {
  assert.equal(
    hex(encodeCreation({ name: "KUBE-X", type: "bitmap:port", family: 4 }, 3)),
    "02000000" +
      "0500010006000000" +
      "0b0002004b5542452d580000" +
      "100003006269746d61703a706f727400" +
      "0500040003000000" +
      "0500050000000000" +
      "14000780" +
      "0600044000000000" +
      "06000540ffff0000",
  );
  assert.equal(
    hex(encodeElements("KUBE-X", ["10.96.0.10,tcp:53", "30080"])),
    "02000000" +
      "0500010006000000" +
      "0b0002004b5542452d580000" +
      "30000880" + // the elements
      "20000780" +
      "0c000180080001400a60000a" +
      "0600044000350000" +
      "0500070006000000" +
      "0c000780" +
      "0600044075800000" +
      "0800090000000000", // a line number
  );
});

test("any bytes and any text are taken", () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(bytes, (body) => {
      decodeService(body);
      for (const family of [4, 6] as const) decodeDestination(body, family);
      decodeFamilyNumber(body);
      decodeSet(body);
      decodeRevision(body);
      for (const type of [0x0a00, 0x0a06, 0x0a0f]) tableTopic({ type, flags: 0, sequence: 0, port: 0, body });
    }),
  );
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom(...LISTING.split("\n")),
    fc.constantFrom("TCP  [::g]:0035 rr", "  -> zz:0035 Masq 1 0 0", "TCP  0A60000A:0035 rr"),
  );
  fc.assert(fc.property(fc.array(line), (lines) => parseDestinations(lines.join("\n")).size <= lines.length));
});
