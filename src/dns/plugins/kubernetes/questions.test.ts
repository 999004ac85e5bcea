// A table of questions and whole answers about the cluster's names, asked by real UDP and TCP under the guide's Corefile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, printed } from "../../../../test/dns-client.ts";
import { startUpstream, type TestUpstream } from "../../../../test/dns-upstream.ts";
import { dnsWorld } from "../../../../test/dns-world.ts";
import { sourceFromObjects } from "../../../cluster/index.ts";
import type { TYPE } from "../../message.ts";
import { type DnsServer, startDns } from "../../serve/start.ts";

type TypeName = keyof typeof TYPE;

/** Every question is asked for each of these; a type without an answer in the row is NODATA where the name exists. */
const TYPES: readonly TypeName[] = ["A", "AAAA", "SRV", "CNAME", "TXT", "MX", "NS", "SOA", "PTR", "HTTPS"];

interface Row {
  readonly exists: boolean;
  /** Records of the answer section, after the name: "5 IN A 10.0.0.1". "+" puts one into the additional section. */
  readonly answers?: Partial<Record<TypeName, readonly string[]>>;
}

const missing: Row = { exists: false };
const empty: Row = { exists: true };
const row = (answers: Row["answers"]): Row => (answers ? { exists: true, answers } : empty);
const a = (...addresses: string[]) => addresses.map((address) => `5 IN A ${address}`);
const aaaa = (...addresses: string[]) => addresses.map((address) => `5 IN AAAA ${address}`);
const srv = (port: number, target: string) => `5 IN SRV 0 100 ${port} ${target}.cluster.local.`;
const glue = (name: string, type: "A" | "AAAA", address: string) => `+${name}.cluster.local. 5 IN ${type} ${address}`;

const P = "production.svc";
const api = (ports: readonly number[]) =>
  row({ A: a("10.96.1.1"), SRV: [...ports.map((port) => srv(port, `api.${P}`)), glue(`api.${P}`, "A", "10.96.1.1")] });
const dual = row({
  A: a("10.96.1.2"),
  AAAA: aaaa("fd00:10:96::2"),
  SRV: [srv(8080, `dual.${P}`), glue(`dual.${P}`, "A", "10.96.1.2"), glue(`dual.${P}`, "AAAA", "fd00:10:96::2")],
});
const dnsPorts = (ports: readonly number[]) =>
  row({
    A: a("10.96.0.10"),
    SRV: [...ports.map((port) => srv(port, "kube-dns.kube-system.svc")), glue("kube-dns.kube-system.svc", "A", "10.96.0.10")],
  });
const point = (host: string, service: string, ports: readonly number[], type: "A" | "AAAA", address: string) =>
  row({
    [type]: [`5 IN ${type} ${address}`],
    SRV: [...ports.map((port) => srv(port, `${host}.${service}.${P}`)), glue(`${host}.${service}.${P}`, type, address)],
  });
const mysql = row({
  A: a("10.244.1.10", "10.244.2.10"),
  SRV: [
    srv(3306, `mysql-0.mysql.${P}`),
    srv(3306, `mysql-1.mysql.${P}`),
    glue(`mysql-0.mysql.${P}`, "A", "10.244.1.10"),
    glue(`mysql-1.mysql.${P}`, "A", "10.244.2.10"),
  ],
});
const CACHE: readonly (readonly [string, "A" | "AAAA", string])[] = [
  ["10-244-1-20", "A", "10.244.1.20"],
  ["10-244-2-20", "A", "10.244.2.20"],
  ["fd00-10-244-1--20", "AAAA", "fd00:10:244:1::20"],
];
const cache = (ports: readonly number[]) =>
  row({
    A: a("10.244.1.20", "10.244.2.20"),
    AAAA: aaaa("fd00:10:244:1::20"),
    SRV: [
      ...CACHE.flatMap(([host]) => ports.map((port) => srv(port, `${host}.cache.${P}`))),
      ...CACHE.map(([host, type, address]) => glue(`${host}.cache.${P}`, type, address)),
    ],
  });

/** Names without ".cluster.local.". */
const NAMES: Readonly<Record<string, Row>> = {
  svc: empty,
  pod: empty,
  "production.svc": empty,
  "quiet.svc": empty,
  "production.pod": empty,
  // The cache's 30 s are shorter than the record's 28,800.
  "dns-version": row({ TXT: ['30 IN TXT "1.1.0"'] }),
  nothing: missing,
  "nowhere.svc": missing,
  "api.nowhere.svc": missing,
  "a.b.c.d.e": missing,
  "nope.production.svc": missing,
  "api.default.svc": missing,
  "production.foo": missing,
  "kubernetes.default.svc": row({
    A: a("10.96.0.1"),
    SRV: [srv(443, "kubernetes.default.svc"), glue("kubernetes.default.svc", "A", "10.96.0.1")],
  }),
  "api.production.svc": api([80, 9090]),
  "_http._tcp.api.production.svc": api([80]),
  "_grpc._tcp.api.production.svc": api([9090]),
  "http.tcp.api.production.svc": api([80]),
  "_http.tcp.api.production.svc": api([80]),
  "_http._udp.api.production.svc": missing,
  "_nope._tcp.api.production.svc": missing,
  "x._http._tcp.api.production.svc": missing,
  "_tcp.api.production.svc": missing,
  "10-244-1-5.api.production.svc": point("10-244-1-5", "api", [80, 9090], "A", "10.244.1.5"),
  "10-244-2-6.api.production.svc": missing,
  "10-244-9-9.api.production.svc": missing,
  "kube-dns.kube-system.svc": dnsPorts([53, 9153]),
  "_dns._udp.kube-dns.kube-system.svc": dnsPorts([53]),
  "_dns-tcp._tcp.kube-dns.kube-system.svc": dnsPorts([53]),
  "_metrics._tcp.kube-dns.kube-system.svc": dnsPorts([9153]),
  "_dns._tcp.kube-dns.kube-system.svc": missing,
  "dual.production.svc": dual,
  "_web._tcp.dual.production.svc": dual,
  "six.production.svc": row({ AAAA: aaaa("fd00:10:96::6"), SRV: [srv(8080, `six.${P}`), glue(`six.${P}`, "AAAA", "fd00:10:96::6")] }),
  "empty.production.svc": row({ A: a("10.96.1.3"), SRV: [srv(80, `empty.${P}`), glue(`empty.${P}`, "A", "10.96.1.3")] }),
  "syslog.production.svc": row({ A: a("10.96.1.4"), SRV: [srv(514, `syslog.${P}`), glue(`syslog.${P}`, "A", "10.96.1.4")] }),
  "_syslog._udp.syslog.production.svc": row({ A: a("10.96.1.4"), SRV: [srv(514, `syslog.${P}`), glue(`syslog.${P}`, "A", "10.96.1.4")] }),
  "mysql.production.svc": mysql,
  "_mysql._tcp.mysql.production.svc": mysql,
  "_mysql._udp.mysql.production.svc": missing,
  "mysql-0.mysql.production.svc": point("mysql-0", "mysql", [3306], "A", "10.244.1.10"),
  "mysql-1.mysql.production.svc": point("mysql-1", "mysql", [3306], "A", "10.244.2.10"),
  "mysql-2.mysql.production.svc": missing,
  "10-244-1-10.mysql.production.svc": missing,
  "cache.production.svc": cache([6379, 9121]),
  "_redis._tcp.cache.production.svc": cache([6379]),
  "_metrics._tcp.cache.production.svc": cache([9121]),
  "10-244-1-20.cache.production.svc": point("10-244-1-20", "cache", [6379, 9121], "A", "10.244.1.20"),
  "fd00-10-244-1--20.cache.production.svc": point("fd00-10-244-1--20", "cache", [6379, 9121], "AAAA", "fd00:10:244:1::20"),
  "cache-x.cache.production.svc": missing,
  "gone.production.svc": missing,
  "10-244-1-30.gone.production.svc": missing,
  "noport.production.svc": row({ A: a("10.244.1.40") }),
  "10-244-1-40.noport.production.svc": row({ A: a("10.244.1.40") }),
  "mysql-1.reader.production.svc": point("mysql-1", "reader", [3306], "A", "10.244.2.10"),
  "inside.production.svc": row({
    A: ["5 IN CNAME api.production.svc.cluster.local.", "=api.production.svc.cluster.local. 5 IN A 10.96.1.1"],
    AAAA: ["5 IN CNAME api.production.svc.cluster.local."],
    CNAME: ["5 IN CNAME api.production.svc.cluster.local."],
  }),
  "outside.production.svc": row({
    A: ["5 IN CNAME db.example.org.", "=db.example.org. 30 IN A 203.0.113.10"],
    AAAA: ["5 IN CNAME db.example.org.", "=db.example.org. 30 IN AAAA 2001:db8::10"],
    CNAME: ["5 IN CNAME db.example.org."],
  }),
  "lost.production.svc": row({
    A: ["5 IN CNAME nothing.example.org."],
    AAAA: ["5 IN CNAME nothing.example.org."],
    CNAME: ["5 IN CNAME nothing.example.org."],
  }),
  "_http._tcp.outside.production.svc": missing,
  "a.outside.production.svc": missing,
  "10-244-1-5.production.pod": row({ A: a("10.244.1.5") }),
  "10-244-1-10.production.pod": row({ A: a("10.244.1.10") }),
  "fd00-10-244--77.production.pod": row({ AAAA: aaaa("fd00:10:244::77") }),
  "10-112-0-51.kube-system.pod": row({ A: a("10.112.0.51") }),
  // Another namespace's pod, one that has ended, one that there is not, and no address.
  "10-244-1-5.default.pod": missing,
  "10-244-1-99.production.pod": missing,
  "10-244-7-7.production.pod": missing,
  "10-244-1-256.production.pod": missing,
  "api-1.production.pod": missing,
  "x.10-244-1-5.production.pod": missing,
};

/** PTR alone; other types of these are NODATA, and what is missing goes on to the upstream. */
const REVERSE: Readonly<Record<string, readonly string[]>> = {
  "1.1.96.10.in-addr.arpa.": ["api.production.svc.cluster.local."],
  "10.0.96.10.in-addr.arpa.": ["kube-dns.kube-system.svc.cluster.local."],
  "3.1.96.10.in-addr.arpa.": ["empty.production.svc.cluster.local."],
  "5.1.244.10.in-addr.arpa.": ["10-244-1-5.api.production.svc.cluster.local."],
  "10.1.244.10.in-addr.arpa.": ["mysql-0.mysql.production.svc.cluster.local."],
  "10.2.244.10.in-addr.arpa.": ["mysql-1.mysql.production.svc.cluster.local.", "mysql-1.reader.production.svc.cluster.local."],
  "20.1.244.10.in-addr.arpa.": ["10-244-1-20.cache.production.svc.cluster.local."],
  "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.": ["dual.production.svc.cluster.local."],
  "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa.": ["fd00-10-244-1--20.cache.production.svc.cluster.local."],
};

const SOA = (zone: string) => `authority ${zone} 5 IN SOA ns.dns.${zone} hostmaster.${zone} 0 7200 1800 86400 5`;

function expected(name: string, zone: string, given: Row, type: TypeName): string[] {
  const records = given.answers?.[type];
  if (!records) return [`${given.exists ? 0 : 3} aa`, SOA(zone)];
  const placed = records.map((record) =>
    record.startsWith("+")
      ? `additional ${record.slice(1)}`
      : record.startsWith("=")
        ? `answer ${record.slice(1)}`
        : `answer ${name} ${record}`,
  );
  return [
    "0 aa",
    ...placed.filter((line) => line.startsWith("answer")).sort(),
    ...placed.filter((line) => line.startsWith("additional")).sort(),
  ];
}

let server: DnsServer;
let upstream: TestUpstream;
let port = 0;

before(async () => {
  upstream = await startUpstream();
  const corefile = `.:0 {
        errors
        health 127.0.0.1:0
        ready 127.0.0.1:0
        kubernetes cluster.local in-addr.arpa ip6.arpa {
            pods verified
            fallthrough in-addr.arpa ip6.arpa
        }
        prometheus 127.0.0.1:0
        forward . 127.0.0.1:${upstream.port}
        cache 30
        loop
        reload
        loadbalance
    }`;
  server = await startDns({ corefile, source: sourceFromObjects(dnsWorld()) });
  port = server.status().listeners[0]?.port ?? 0;
});

after(async () => {
  await server.close();
  await upstream.close();
});

for (const [short, given] of Object.entries(NAMES)) {
  const name = `${short}.cluster.local.`;
  test(`${name} for ${TYPES.length} types, by UDP and TCP`, async () => {
    for (const type of TYPES) {
      for (const tcp of [false, true]) {
        const edns = { udpSize: 1232, version: 0, dnssecOk: false };
        const message = await ask(name, type, { port, tcp, edns });
        assert.deepEqual(printed(message), expected(name, "cluster.local.", given, type), `${type} ${tcp ? "tcp" : "udp"}`);
        assert.deepEqual(
          {
            id: message.id,
            response: message.response,
            rd: message.recursionDesired,
            questions: message.questions.length,
            edns: message.edns,
          },
          { id: 4242, response: true, rd: true, questions: 1, edns },
        );
      }
    }
  });
}

for (const [name, targets] of Object.entries(REVERSE))
  test(name, async () => {
    for (const tcp of [false, true])
      assert.deepEqual(printed(await ask(name, "PTR", { port, tcp })), [
        "0 aa",
        ...targets.map((target) => `answer ${name} 5 IN PTR ${target}`),
      ]);
    assert.deepEqual(printed(await ask(name, "A", { port })), ["0 aa", SOA(name.endsWith("ip6.arpa.") ? "ip6.arpa." : "in-addr.arpa.")]);
  });

test("the zone's apex: SOA, NS with the server's address, NODATA for the rest", async () => {
  const zone = "cluster.local.";
  assert.deepEqual(printed(await ask(zone, "SOA", { port })), ["0 aa", SOA(zone).replace("authority", "answer")]);
  assert.deepEqual(printed(await ask(zone, "NS", { port })), [
    "0 aa",
    "answer cluster.local. 5 IN NS kube-dns.kube-system.svc.cluster.local.",
    "additional kube-dns.kube-system.svc.cluster.local. 5 IN A 10.96.0.10",
  ]);
  assert.deepEqual(printed(await ask("ns.dns.cluster.local.", "A", { port })), ["0 aa", "answer ns.dns.cluster.local. 5 IN A 10.96.0.10"]);
  for (const type of ["A", "AAAA", "SRV", "TXT", "MX"] as const)
    assert.deepEqual(printed(await ask(zone, type, { port })), ["0 aa", SOA(zone)], type);
});

test("an address that is nobody's goes on to the upstream (fallthrough)", async () => {
  const before = upstream.asked.length;
  const message = await ask("1.2.0.192.in-addr.arpa.", "PTR", { port });
  assert.equal(message.rcode, 3);
  assert.deepEqual(upstream.asked.slice(before), ["1.2.0.192.in-addr.arpa. PTR udp"]);
});

test("the letter case of the question is kept in the answer", async () => {
  const name = "API.Production.svc.CLUSTER.local.";
  const message = await ask(name, "A", { port });
  assert.equal(message.questions[0]?.name, name);
  assert.equal(message.answers[0]?.name, name);
});

test("a circle of aliases is a failure, not an endless answer", async () => {
  assert.equal((await ask("circle-a.production.svc.cluster.local.", "A", { port })).rcode, 2);
  assert.equal((await ask("circle-a.production.svc.cluster.local.", "CNAME", { port })).answers.length, 1);
});

test("zones are not transferred, and classes other than IN are refused", async () => {
  for (const type of ["AXFR", "IXFR"] as const) assert.equal((await ask("cluster.local.", type, { port, tcp: true })).rcode, 5);
  assert.equal((await ask("api.production.svc.cluster.local.", "A", { port, class: 4 })).rcode, 5);
  assert.equal(
    (await ask("api.production.svc.cluster.local.", "A", { port, edns: { udpSize: 1232, version: 1, dnssecOk: false } })).rcode,
    16,
  );
});
