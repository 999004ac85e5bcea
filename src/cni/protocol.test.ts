// Calls as runtimes make them, good and bad; results in the words of each version; a fuzzer for both readers.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type CniCall, CniError, type CniResult, encodeError, encodeResult, parseCall, parseWire } from "./index.ts";

const VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
const ATTACHMENT = { CNI_CONTAINERID: "c1", CNI_NETNS: "/run/netns/c1", CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" };
const RESULT = { cniVersion: "1.1.0", interfaces: [{ name: "eth0" }], ips: [{ address: "10.244.1.7/24", interface: 0 }] };

interface Change {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly config?: object;
  readonly stdin?: string;
}

function call(command: string, { env = {}, config = {}, stdin }: Change = {}): CniCall {
  const all = { CNI_COMMAND: command, ...ATTACHMENT, ...env };
  const environment = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
  const needs = command === "CHECK" ? { prevResult: RESULT } : command === "GC" ? { "cni.dev/valid-attachments": [] } : {};
  return { environment, stdin: stdin ?? JSON.stringify({ cniVersion: "1.1.0", name: "net", type: "fairlead", ...needs, ...config }) };
}

test("every verb is read in the versions that have it, and in no other", () => {
  const since = { ADD: 0, DEL: 0, CHECK: 1, GC: 3, STATUS: 3 };
  for (const [command, first] of Object.entries(since)) {
    for (const [index, cniVersion] of VERSIONS.entries()) {
      const attempt = () => parseCall(call(command, { config: { cniVersion } }));
      if (index >= first) assert.deepEqual([attempt().command, attempt().version], [command, cniVersion]);
      else assert.throws(attempt, (error) => error instanceof CniError && error.number === 1, `${command} in ${cniVersion}`);
    }
  }
});

const GOOD: readonly [string, string, Change, object][] = [
  ["DEL without a namespace", "DEL", { env: { CNI_NETNS: undefined } }, { netns: "" }],
  ["DEL with a prevResult that is nonsense", "DEL", { config: { prevResult: { ips: "?" } } }, { prevResult: undefined }],
  ["CNI_PATH is not ours to demand", "ADD", { env: { CNI_PATH: undefined } }, { command: "ADD" }],
  ["prevResult null is none", "ADD", { config: { prevResult: null } }, { prevResult: undefined }],
  ["null for an empty list", "ADD", { config: { prevResult: { ips: null } } }, { prevResult: { ips: [], interfaces: [], routes: [] } }],
  [
    "CNI_ARGS",
    "ADD",
    { env: { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAME=a=b;EMPTY=;" } },
    { args: { IgnoreUnknown: "1", K8S_POD_NAME: "a=b", EMPTY: "" } },
  ],
  ["CNI_NETNS_OVERRIDE=TRUE", "ADD", { env: { CNI_NETNS_OVERRIDE: "TRUE" } }, { netnsOverride: true }],
  ["CNI_NETNS_OVERRIDE=1", "ADD", { env: { CNI_NETNS_OVERRIDE: "1" } }, { netnsOverride: true }],
  ["CNI_NETNS_OVERRIDE=no", "ADD", { env: { CNI_NETNS_OVERRIDE: "no" } }, { netnsOverride: false }],
  ["a name of 15 bytes", "ADD", { env: { CNI_IFNAME: "abcdefghijklmno" } }, { ifname: "abcdefghijklmno" }],
  ["GC with Go's empty list", "GC", { config: { "cni.dev/valid-attachments": null } }, { validAttachments: [] }],
  [
    "GC with the name that libcni 1.2.0 wrote",
    "GC",
    { config: { "cni.dev/valid-attachments": undefined, "cni.dev/attachments": [{ containerID: "c1", ifname: "eth0" }] } },
    { validAttachments: [{ containerID: "c1", ifname: "eth0" }] },
  ],
  [
    "STATUS needs no attachment",
    "STATUS",
    { env: { CNI_CONTAINERID: undefined, CNI_IFNAME: undefined, CNI_NETNS: undefined } },
    { containerId: "" },
  ],
  ["disableCheck is the runtime's", "CHECK", { config: { disableCheck: true } }, { command: "CHECK" }],
];

test("what a runtime may leave out or write otherwise", () => {
  for (const [title, command, change, wanted] of GOOD) {
    const request = parseCall(call(command, change)) as unknown as Record<string, unknown>;
    for (const [field, value] of Object.entries(wanted)) assert.deepEqual(request[field], value, title);
  }
});

const BAD: readonly [string, string, Change, number, RegExp][] = [
  ["no command", "", {}, 4, /CNI_COMMAND is missing/],
  ["unknown command", "UPDATE", {}, 4, /CNI_COMMAND "UPDATE"/],
  ["lower case", "add", {}, 4, /CNI_COMMAND "add"/],
  [
    "ADD without anything",
    "ADD",
    { env: { CNI_CONTAINERID: "", CNI_NETNS: undefined, CNI_IFNAME: undefined } },
    4,
    /CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME/,
  ],
  ["CHECK without namespace", "CHECK", { env: { CNI_NETNS: undefined } }, 4, /CNI_NETNS/],
  ["DEL without interface", "DEL", { env: { CNI_IFNAME: undefined } }, 4, /CNI_IFNAME/],
  ["container id that leaves its directory", "DEL", { env: { CNI_CONTAINERID: "../../etc" } }, 4, /CNI_CONTAINERID/],
  ["container id with a line break", "ADD", { env: { CNI_CONTAINERID: "c1\n" } }, 4, /CNI_CONTAINERID/],
  ["interface name too long", "ADD", { env: { CNI_IFNAME: "abcdefghijklmnop" } }, 4, /CNI_IFNAME/],
  ["interface name too long in bytes", "ADD", { env: { CNI_IFNAME: "éééééééé" } }, 4, /CNI_IFNAME/],
  ["interface ..", "ADD", { env: { CNI_IFNAME: ".." } }, 4, /CNI_IFNAME/],
  ["interface with a slash", "ADD", { env: { CNI_IFNAME: "a/b" } }, 4, /CNI_IFNAME/],
  ["interface with a colon", "ADD", { env: { CNI_IFNAME: "eth0:1" } }, 4, /CNI_IFNAME/],
  ["interface with a blank", "ADD", { env: { CNI_IFNAME: "eth 0" } }, 4, /CNI_IFNAME/],
  ["CNI_ARGS that are no pairs", "ADD", { env: { CNI_ARGS: "A=1;what" } }, 4, /CNI_ARGS: "what"/],
  ["no input", "ADD", { stdin: "" }, 6, /not JSON/],
  ["cut off", "ADD", { stdin: '{"cniVersion":"1.1.0","name":' }, 6, /not JSON/],
  ["a list", "ADD", { stdin: "[]" }, 6, /not an object/],
  ["null", "STATUS", { stdin: "null" }, 6, /not an object/],
  ["no version", "ADD", { config: { cniVersion: undefined } }, 1, /cniVersion is missing/],
  ["a version of the future", "ADD", { config: { cniVersion: "2.0.0" } }, 1, /"2.0.0" is not supported/],
  ["a version of the past", "DEL", { config: { cniVersion: "0.2.0" } }, 1, /"0.2.0" is not supported/],
  ["a number for a version", "ADD", { config: { cniVersion: 1 } }, 7, /cniVersion is not text/],
  ["no name", "ADD", { config: { name: undefined } }, 7, /no name/],
  ["empty name", "ADD", { config: { name: "" } }, 7, /can't name/],
  ["name with a slash", "GC", { config: { name: "a/b" } }, 7, /"a\/b" can't name/],
  ["CHECK without prevResult", "CHECK", { config: { prevResult: undefined } }, 7, /needs prevResult/],
  ["prevResult that is text", "ADD", { config: { prevResult: "x" } }, 6, /prevResult: not an object/],
  ["address without length", "ADD", { config: { prevResult: { ips: [{ address: "10.0.0.1" }] } } }, 6, /10\.0\.0\.1/],
  ["gateway that is none", "ADD", { config: { prevResult: { ips: [{ address: "10.0.0.1/8", gateway: "x" }] } } }, 6, /gateway "x"/],
  ["interface that is not there", "ADD", { config: { prevResult: { ips: [{ address: "10.0.0.1/8", interface: 1 }] } } }, 6, /interface 1/],
  ["interface without name", "ADD", { config: { prevResult: { interfaces: [{}] } } }, 6, /no name/],
  ["route to nowhere", "ADD", { config: { prevResult: { routes: [{ gw: "10.0.0.1" }] } } }, 6, /routes/],
  ["GC without the list", "GC", { config: { "cni.dev/valid-attachments": undefined } }, 7, /valid-attachments/],
  ["GC with text", "GC", { config: { "cni.dev/valid-attachments": "all" } }, 7, /not a list/],
  ["GC with half an entry", "GC", { config: { "cni.dev/valid-attachments": [{ containerID: "c1" }] } }, 7, /ifname/],
];

test("every fault has its code, and names what is at fault", () => {
  for (const [title, command, change, number, words] of BAD) {
    assert.throws(
      () => parseCall(call(command, change)),
      (error) => {
        assert.ok(error instanceof CniError, title);
        assert.equal(error.number, number, title);
        assert.match(error.message, words, title);
        return true;
      },
      title,
    );
  }
});

test("a result in the words of each version", () => {
  const full: CniResult = {
    interfaces: [
      { name: "cni0", mac: "02:00:00:00:00:01", mtu: 1450 },
      { name: "eth0", mtu: 1450, sandbox: "/run/netns/c1" },
    ],
    ips: [
      { address: "10.244.1.7/24", gateway: "10.244.1.1", interface: 1 },
      { address: "fd00::7/64", interface: 1 },
    ],
    routes: [{ dst: "0.0.0.0/0", gw: "10.244.1.1", mtu: 1400 }, { dst: "::/0" }],
    dns: { nameservers: ["10.96.0.10"] },
  };
  const old = {
    interfaces: [
      { name: "cni0", mac: "02:00:00:00:00:01" },
      { name: "eth0", sandbox: "/run/netns/c1" },
    ],
    routes: [{ dst: "0.0.0.0/0", gw: "10.244.1.1" }, { dst: "::/0" }],
    dns: full.dns,
  };
  const ips = [
    { version: "4", ...full.ips?.[0] },
    { version: "6", ...full.ips?.[1] },
  ];
  assert.deepEqual(encodeResult("0.3.1", full), { cniVersion: "0.3.1", ...old, ips });
  assert.deepEqual(encodeResult("0.4.0", full), { cniVersion: "0.4.0", ...old, ips });
  assert.deepEqual(encodeResult("1.0.0", full), { cniVersion: "1.0.0", ...old, ips: full.ips });
  assert.deepEqual(encodeResult("1.1.0", full), { cniVersion: "1.1.0", ...full });
  assert.deepEqual(encodeResult("1.1.0", { ips: [], dns: {} }), { cniVersion: "1.1.0", ips: [] }, "dns only if it says something");
});

test("a result that was handed on in an old version comes out as it was", () => {
  const prevResult = {
    cniVersion: "0.4.0",
    interfaces: [{ name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/n" }],
    ips: [{ version: "4", address: "10.0.0.2/24", interface: 0 }],
    routes: [],
    dns: { search: ["svc"] },
  };
  const request = parseCall(call("ADD", { config: { cniVersion: "0.4.0", prevResult } }));
  assert.deepEqual(encodeResult("0.4.0", request.prevResult ?? {}), prevResult);
});

test("an error as the specification has it", () => {
  assert.deepEqual(encodeError("1.0.0", new CniError(11, "later", "why")), { cniVersion: "1.0.0", code: 11, msg: "later", details: "why" });
  assert.deepEqual(encodeError("1.1.0", new CniError(3, "gone")), { cniVersion: "1.1.0", code: 3, msg: "gone" });
  assert.deepEqual(encodeError("1.1.0", new RangeError("odd")), { cniVersion: "1.1.0", code: 5, msg: "odd" });
});

test("fuzz: whatever the bytes, a call is read or refused with a code", () => {
  const json = fc.jsonValue().map((value) => JSON.stringify(value));
  const config = fc
    .record(
      {
        cniVersion: fc.constantFrom(...VERSIONS),
        name: fc.constant("n"),
        prevResult: fc.jsonValue(),
        "cni.dev/valid-attachments": fc.jsonValue(),
      },
      { requiredKeys: ["cniVersion"] },
    )
    .map((value) => JSON.stringify(value));
  const environment = fc.dictionary(
    fc.constantFrom("CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "__proto__"),
    fc.oneof(fc.string(), fc.constantFrom("ADD", "DEL", "CHECK", "GC", "c1", "eth0")),
  );
  fc.assert(
    fc.property(environment, fc.oneof(fc.string(), json, config), (variables, stdin) => {
      try {
        const request = parseCall({ environment: variables, stdin });
        JSON.stringify(encodeResult(request.version, request.prevResult ?? {}));
      } catch (error) {
        assert.ok(error instanceof CniError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

test("fuzz: what is written on the wire is read back; nonsense is an empty call", () => {
  const value = fc.string().filter((text) => !text.includes("\n"));
  const name = fc.stringMatching(/^[A-Z][A-Z_]{0,12}$/);
  fc.assert(
    fc.property(fc.dictionary(name, value), fc.string(), (environment, stdin) => {
      const lines = Object.entries(environment).map(([key, text]) => `${key}=${text}\n`);
      assert.deepEqual(parseWire(`${lines.join("")}\n${stdin}`), { environment: { ...environment }, stdin });
    }),
  );
  fc.assert(fc.property(fc.string(), (text) => typeof parseWire(text).stdin === "string"));
  for (const text of ["", "A", "A=1", "A=1\n", "=x\n"]) assert.equal(parseWire(text).stdin, "");
});
