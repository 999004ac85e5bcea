import assert from "node:assert/strict";
import { test } from "node:test";
import type { TcpConnection } from "../../kernel/index.ts";
import { type BgpCause, diagnose, type Evidence } from "./diagnosis.ts";

const NO_SIGNATURES = { missing: 0, unexpected: 0, wrong: 0 };
const SYN: TcpConnection = {
  family: 4,
  local: { address: "10.112.0.51", port: 40000 },
  remote: { address: "10.112.0.52", port: 179 },
  state: "SYN-SENT",
  retransmits: 2,
  unacknowledged: 1,
};
const THERE = { address: "10.112.0.52", mac: "02:00:00:00:00:52", state: "reachable" };

function evidence(rest: Partial<Omit<Evidence, "status">> & { readonly status?: Partial<Evidence["status"]> } = {}): Evidence {
  const status = { name: "node-2", address: "10.112.0.52", phase: "Connect", lastError: undefined, lastFault: undefined } as const;
  return {
    port: 179,
    localAs: 64512,
    expectedAs: 64513,
    hasPassword: false,
    withheld: undefined,
    connections: [],
    linkLayer: THERE,
    signatures: NO_SIGNATURES,
    routed: true,
    ...rest,
    status: { ...status, ...rest.status },
  };
}

const fault = (by: "us" | "neighbour", code: number, subcode: number) =>
  ({ lastError: `${by} ${code}/${subcode}`, lastFault: { by, code, subcode } }) as const;
const CONNECTION = { by: "connection" } as const;

/** What is seen → the cause, and what its proof names. */
const CASES: readonly (readonly [string, Parameters<typeof evidence>[0], BgpCause, RegExp])[] = [
  [
    "a SYN without an answer, and the host is there",
    { connections: [SYN] },
    "no-answer",
    /SYN-SENT 10.112.0.51:40000 → 10.112.0.52:179, sent 3 times.*02:00/,
  ],
  [
    "no answer, some time ago",
    { status: { lastError: "connecting took too long", lastFault: CONNECTION } },
    "no-answer",
    /no answer|took too long/,
  ],
  ["no answer counts for more than an old hold timer", { connections: [SYN], status: fault("us", 4, 0) }, "no-answer", /SYN-SENT/],
  ["nothing heard in a session", { status: fault("us", 4, 0) }, "silent", /NOTIFICATION 4\/0 sent/],
  ["the neighbour heard nothing", { status: fault("neighbour", 4, 0) }, "silent", /from the neighbour/],
  ["a reset", { status: { lastError: "ECONNREFUSED", lastFault: CONNECTION } }, "refused", /ECONNREFUSED/],
  ["no route", { routed: false, connections: [] }, "no-route", /ip route get 10.112.0.52/],
  ["no route, by the kernel's answer", { status: { lastError: "ENETUNREACH", lastFault: CONNECTION } }, "no-route", /ENETUNREACH/],
  [
    "no host on the link",
    { linkLayer: { ...THERE, mac: undefined, state: "failed" }, connections: [SYN] },
    "no-host",
    /10.112.0.52 is failed/,
  ],
  [
    "no router on the way",
    { linkLayer: { address: "10.112.0.1", mac: undefined, state: "incomplete" } },
    "no-host",
    /10.112.0.1 is incomplete/,
  ],
  ["our OPEN was refused for its AS", { status: fault("neighbour", 2, 2) }, "wrong-as", /2\/2 from the neighbour/],
  ["we refused theirs", { status: fault("us", 2, 2), connections: [SYN] }, "wrong-as", /2\/2 sent/],
  ["equal identifiers", { status: fault("us", 2, 3) }, "wrong-identifier", /2\/3/],
  ["no family in common", { status: fault("us", 2, 7) }, "no-common-family", /2\/7/],
  [
    "signatures that are wrong",
    { hasPassword: true, connections: [SYN], signatures: { ...NO_SIGNATURES, wrong: 4 } },
    "wrong-password",
    /TCPMD5Failure grew by 4/,
  ],
  ["signatures that are missing", { hasPassword: true, signatures: { ...NO_SIGNATURES, missing: 1 } }, "wrong-password", /TCPMD5NotFound/],
  ["signatures that nobody asked for", { signatures: { ...NO_SIGNATURES, unexpected: 1 } }, "wrong-password", /TCPMD5Unexpected/],
  [
    "others' signatures say nothing of who has no password",
    { connections: [SYN], signatures: { ...NO_SIGNATURES, wrong: 4 } },
    "no-answer",
    /SYN-SENT/,
  ],
  ["a Secret that is missing", { withheld: "there is no Secret x" }, "withheld", /no connection/],
  ["BFD", { status: fault("us", 6, 10) }, "bfd", /6\/10/],
  ["a maintenance", { status: fault("neighbour", 6, 2) }, "ended-by-neighbour", /6\/2/],
  ["a reset by hand", { status: fault("us", 6, 4) }, "ended-by-us", /6\/4/],
  ["too many prefixes", { status: fault("us", 6, 1) }, "prefix-limit", /6\/1/],
  ["a connection that went", { status: { lastError: "ECONNRESET", lastFault: CONNECTION } }, "closed", /ECONNRESET/],
  ["nothing yet", {}, "starting", /10.112.0.52:179/],
];

for (const [name, seen, cause, proof] of CASES) {
  test(`${name}: ${cause}`, () => {
    const found = diagnose(evidence(seen));
    assert.equal(found?.cause, cause);
    assert.match(found?.proof ?? "", proof);
    assert.notEqual(found?.remedy, "");
  });
}

test("a session that is up needs no reason", () => {
  assert.equal(diagnose(evidence({ status: { phase: "Established" } })), undefined);
});

test("where there is a password, no answer may be its fault, and that is said", () => {
  assert.match(diagnose(evidence({ hasPassword: true, connections: [SYN] }))?.says ?? "", /another password/);
});
