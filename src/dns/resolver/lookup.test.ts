// The questions that glibc and musl put on the wire, as tables: name, resolv.conf and a world → questions and outcome.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RCODE, TYPE } from "../message.ts";
import type { Ask } from "./lookup.ts";
import { parseResolvConf, type ResolverKind, settingsOf } from "./resolv-conf.ts";
import { alternatives, type Exchange, type Reply, walkLookup } from "./walk.ts";

const POD = `search production.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
`;
const FOUND: Reply = { rcode: RCODE.NOERROR, records: 1 };
const NODATA: Reply = { rcode: RCODE.NOERROR, records: 0 };
const NXDOMAIN: Reply = { rcode: RCODE.NXDOMAIN, records: 0 };
const SERVFAIL: Reply = { rcode: RCODE.SERVFAIL, records: 0 };
const REFUSED: Reply = { rcode: RCODE.REFUSED, records: 0 };

/** Names of a world: what they answer to A, and (after a slash) to AAAA; "server name" narrows it to one server. */
type World = Readonly<Record<string, Reply | undefined>>;

function exchangeOf(world: World): Exchange<Reply> {
  const of = (key: string) => (key in world ? { reply: world[key] } : undefined);
  return async (ask) => {
    const suffix = ask.type === TYPE.AAAA ? "/AAAA" : "";
    const found = of(`${ask.server} ${ask.name}${suffix}`) ?? of(`${ask.server}`) ?? of(`${ask.name}${suffix}`) ?? of(ask.name);
    return found ? found.reply : NXDOMAIN;
  };
}

const show = ({ name, type, server, transport }: Ask, servers: number) =>
  `${name} ${type === TYPE.A ? "A" : "AAAA"}${servers > 1 ? ` @${server}` : ""}${transport === "tcp" ? " tcp" : ""}`;

async function walk(resolver: ResolverKind, conf: string, name: string, world: World, types: readonly number[] = [TYPE.A, TYPE.AAAA]) {
  const parsed = parseResolvConf(conf);
  const { steps, result } = await walkLookup({ resolver, conf: parsed, name, types }, exchangeOf(world));
  return { asks: steps.map(({ ask }) => show(ask, parsed.nameservers.length)), outcome: result.outcome, found: result.name };
}

const both = (...names: string[]) => names.flatMap((name) => [`${name} A`, `${name} AAAA`]);
const SEARCHED = ["production.svc.cluster.local.", "svc.cluster.local.", "cluster.local."];
const path = (name: string) => SEARCHED.map((element) => `${name}.${element}`);

describe("glibc", () => {
  const cases: [string, string, string, World, string[], string][] = [
    [
      "a Service of the own namespace",
      POD,
      "mysql",
      { "mysql.production.svc.cluster.local.": FOUND },
      both("mysql.production.svc.cluster.local."),
      "found",
    ],
    ["a Service of another", POD, "db.data", { "db.data.svc.cluster.local.": FOUND }, both(...path("db.data").slice(0, 2)), "found"],
    [
      "an outside name walks the whole path first",
      POD,
      "example.com",
      { "example.com.": FOUND },
      both(...path("example.com"), "example.com."),
      "found",
    ],
    ["a trailing dot is asked as it is, and only so", POD, "example.com.", {}, both("example.com."), "no-name"],
    [
      "ndots dots: as it is first, then the path",
      POD.replace("5", "1"),
      "example.com",
      {},
      both("example.com.", ...path("example.com")),
      "no-name",
    ],
    ["as many dots as ndots found at once", POD.replace("5", "1"), "example.com", { "example.com.": FOUND }, both("example.com."), "found"],
    ["ndots:0", "search a.example\nnameserver 1.1.1.1\noptions ndots:0\n", "x", {}, both("x.", "x.a.example."), "no-name"],
    [
      "a name without data goes on, and is remembered",
      POD,
      "a",
      { "a.production.svc.cluster.local.": NODATA },
      both(...path("a"), "a."),
      "no-data",
    ],
    [
      "as it is first: its own error counts",
      POD.replace("5", "1"),
      "a.b",
      { "a.b.svc.cluster.local.": NODATA },
      both("a.b.", ...path("a.b")),
      "no-name",
    ],
    [
      "A only is enough",
      POD,
      "v4",
      { "v4.production.svc.cluster.local.": FOUND, "v4.production.svc.cluster.local./AAAA": NODATA },
      both("v4.production.svc.cluster.local."),
      "found",
    ],
    [
      "SERVFAIL is asked twice (attempts), then the next element",
      POD,
      "s",
      { "s.production.svc.cluster.local.": SERVFAIL, "s.svc.cluster.local.": FOUND },
      both("s.production.svc.cluster.local.", ...path("s").slice(0, 2)),
      "found",
    ],
    [
      "SERVFAIL of one of two does not matter",
      POD,
      "s",
      { "s.production.svc.cluster.local.": FOUND, "s.production.svc.cluster.local./AAAA": SERVFAIL },
      both("s.production.svc.cluster.local."),
      "found",
    ],
    [
      "REFUSED everywhere ends the search, the name as it is is tried",
      POD,
      "s",
      { "s.production.svc.cluster.local.": REFUSED },
      both(...Array(2).fill("s.production.svc.cluster.local."), "s."),
      "no-name",
    ],
    [
      "silence ends the search, the name as it is is tried",
      POD,
      "s",
      { "s.production.svc.cluster.local.": undefined },
      both(...Array(2).fill("s.production.svc.cluster.local."), "s."),
      "no-name",
    ],
    [
      "no-aaaa",
      `${POD.trim()} no-aaaa\n`,
      "mysql",
      { "mysql.production.svc.cluster.local.": FOUND },
      ["mysql.production.svc.cluster.local. A"],
      "found",
    ],
    ["no-tld-query", `${POD.trim()} no-tld-query\n`, "x", {}, both(...path("x")), "no-name"],
    [
      "use-vc",
      `${POD.trim()} use-vc\n`,
      "mysql",
      { "mysql.production.svc.cluster.local.": FOUND },
      ["mysql.production.svc.cluster.local. A tcp", "mysql.production.svc.cluster.local. AAAA tcp"],
      "found",
    ],
    [
      "the root on the search list is the name as it is",
      "search a.example .\nnameserver 1.1.1.1\n",
      "x",
      {},
      both("x.a.example.", "x."),
      "no-name",
    ],
    ["attempts:3", `${POD.trim()} attempts:3\n`, "s.", { "s.": undefined }, both("s.", "s.", "s."), "try-again"],
  ];
  for (const [what, conf, name, world, asks, outcome] of cases)
    test(what, async () => {
      const walked = await walk("glibc", conf, name, world);
      assert.deepEqual({ asks: walked.asks, outcome: walked.outcome }, { asks, outcome });
    });

  test("the second server is asked when the first is silent, and again in the next attempt", async () => {
    const conf = "nameserver 1.1.1.1\nnameserver 2.2.2.2\n";
    assert.deepEqual((await walk("glibc", conf, "a.b", { "1.1.1.1": undefined, "a.b.": FOUND })).asks, [
      "a.b. A @1.1.1.1",
      "a.b. AAAA @1.1.1.1",
      "a.b. A @2.2.2.2",
      "a.b. AAAA @2.2.2.2",
    ]);
    assert.equal((await walk("glibc", conf, "a.b", { "1.1.1.1": undefined, "2.2.2.2": SERVFAIL })).asks.length, 8);
  });

  test("rotate begins with another server", async () => {
    const conf = parseResolvConf("nameserver 1.1.1.1\nnameserver 2.2.2.2\noptions rotate\n");
    const lookup = { resolver: "glibc", conf, name: "a.b", types: [TYPE.A], rotation: 1 } as const;
    const { steps } = await walkLookup(lookup, exchangeOf({ "a.b.": FOUND }));
    assert.deepEqual(
      steps.map(({ ask }) => ask.server),
      ["2.2.2.2"],
    );
  });

  test("half an answer: the pair is asked one by one at the same server", async () => {
    let times = 0;
    const conf = parseResolvConf(POD);
    const walked = await walkLookup({ resolver: "glibc", conf, name: "m", types: [TYPE.A, TYPE.AAAA] }, async (ask) =>
      ask.type === TYPE.AAAA && times++ === 0 ? undefined : FOUND,
    );
    assert.deepEqual(
      walked.steps.map(({ ask }) => `${ask.type} ${ask.again}`),
      ["1 false", "28 false", "1 true", "28 false"],
    );
    assert.equal(walked.result.outcome, "found");
  });

  test("single-request waits for A before it asks AAAA", async () => {
    const conf = parseResolvConf(`${POD.trim()} single-request\n`);
    let open = 0;
    let most = 0;
    await walkLookup({ resolver: "glibc", conf, name: "m", types: [TYPE.A, TYPE.AAAA] }, async () => {
      most = Math.max(most, ++open);
      await new Promise((resolve) => setImmediate(resolve));
      open--;
      return FOUND;
    });
    assert.equal(most, 1);
  });

  test("a cut answer is asked for again by TCP", async () => {
    const conf = parseResolvConf("nameserver 1.1.1.1\n");
    const walked = await walkLookup({ resolver: "glibc", conf, name: "big.example", types: [TYPE.A] }, async (ask) => ({
      rcode: 0,
      records: 1,
      truncated: ask.transport === "udp",
    }));
    assert.deepEqual(
      walked.steps.map(({ ask }) => ask.transport),
      ["udp", "tcp"],
    );
  });
});

describe("musl", () => {
  const cases: [string, string, string, World, string[], string][] = [
    [
      "a Service of the own namespace",
      POD,
      "mysql",
      { "mysql.production.svc.cluster.local.": FOUND },
      both("mysql.production.svc.cluster.local."),
      "found",
    ],
    [
      "an outside name walks the whole path first",
      POD,
      "example.com",
      { "example.com.": FOUND },
      both(...path("example.com"), "example.com."),
      "found",
    ],
    [
      "a name with ndots dots is never searched for",
      POD.replace("5", "1"),
      "db.data",
      { "db.data.svc.cluster.local.": FOUND },
      both("db.data."),
      "no-name",
    ],
    [
      "a name without data ends the search",
      POD,
      "a",
      { "a.production.svc.cluster.local.": NODATA },
      both("a.production.svc.cluster.local."),
      "no-data",
    ],
    [
      "NXDOMAIN for one type is enough to go on",
      POD,
      "a",
      { "a.production.svc.cluster.local.": FOUND, "a.production.svc.cluster.local./AAAA": NXDOMAIN },
      both(...path("a"), "a."),
      "no-name",
    ],
    [
      "REFUSED is waited over, then it is given up",
      POD,
      "s",
      { "s.production.svc.cluster.local.": REFUSED },
      both("s.production.svc.cluster.local.", "s.production.svc.cluster.local."),
      "try-again",
    ],
    [
      "single-request is not known",
      `${POD.trim()} single-request no-aaaa use-vc\n`,
      "mysql",
      { "mysql.production.svc.cluster.local.": FOUND },
      both("mysql.production.svc.cluster.local."),
      "found",
    ],
  ];
  for (const [what, conf, name, world, asks, outcome] of cases)
    test(what, async () => {
      const walked = await walk("musl", conf, name, world);
      assert.deepEqual({ asks: walked.asks, outcome: walked.outcome }, { asks, outcome });
    });

  test("every server is asked at once, the first usable answer counts", async () => {
    const conf = "nameserver 1.1.1.1\nnameserver 2.2.2.2\n";
    const walked = await walk("musl", conf, "a.b", { "1.1.1.1": REFUSED, "2.2.2.2": FOUND });
    assert.deepEqual(walked.asks, ["a.b. A @1.1.1.1", "a.b. A @2.2.2.2", "a.b. AAAA @1.1.1.1", "a.b. AAAA @2.2.2.2"]);
    assert.equal(walked.outcome, "found");
  });

  test("SERVFAIL is asked again at once, four times in each attempt", async () => {
    const walked = await walk("musl", POD, "s.", { "s.": SERVFAIL });
    // Both types, four repetitions; and all of it once more when half the time is over.
    assert.equal(walked.asks.length, 2 * (2 + 4));
    assert.equal(walked.outcome, "try-again");
  });

  test("a search line of more than 254 characters counts as none", async () => {
    const conf = `search ${Array.from({ length: 10 }, (_, i) => `${"x".repeat(24)}${i}.example`).join(" ")}\nnameserver 1.1.1.1\noptions ndots:5\n`;
    assert.deepEqual((await walk("musl", conf, "a", {})).asks, both("a."));
    assert.equal((await walk("glibc", conf, "a", {})).asks.length, 22);
  });
});

describe("the file", () => {
  test("is read as the resolvers read it", () => {
    const conf = parseResolvConf(
      "# nameserver 9.9.9.9\n; x\nsearch a b\ndomain c d\n nameserver 8.8.8.8\nnameserver\nnameserver no\nnameserver fe80::1%eth0\noptions ndots:3 rotate\noptions ndots:4\n",
    );
    assert.deepEqual(conf, {
      nameservers: ["fe80::1%eth0"],
      searches: ["c"],
      options: [
        ["ndots", "3"],
        ["rotate", undefined],
        ["ndots", "4"],
      ],
    });
    assert.equal(settingsOf(conf, "glibc").ndots, 4);
    assert.deepEqual(parseResolvConf("").nameservers, ["127.0.0.1"]);
  });

  test("numbers are cut to the resolvers' bounds", () => {
    const conf = parseResolvConf("options ndots:99 timeout:99 attempts:99\n");
    const { ndots, timeout, attempts } = settingsOf(conf, "glibc");
    assert.deepEqual([ndots, timeout, attempts], [15, 30, 5]);
    assert.deepEqual([settingsOf(conf, "musl").timeout, settingsOf(conf, "musl").attempts], [60, 10]);
  });
});

describe("what would save questions", () => {
  const saved = async (resolver: ResolverKind, name: string, world: World) => {
    const lookup = { resolver, conf: parseResolvConf(POD), name, types: [TYPE.A, TYPE.AAAA] } as const;
    const exchange = exchangeOf(world);
    const walked = await walkLookup(lookup, exchange);
    return (await alternatives(lookup, walked, exchange)).map(({ way, change, questions }) => [way, change, questions]);
  };

  test("an outside name: 8 questions; a dot, ndots:1 or autopath ask 2", async () => {
    assert.deepEqual(await saved("glibc", "example.com", { "example.com.": FOUND }), [
      ["as configured", "", 8],
      ["trailing dot", "example.com.", 2],
      ["ndots", "ndots:1", 2],
      ["autopath", "autopath @kubernetes", 2],
    ]);
  });

  test("a name that is found at once can't be found with fewer", async () => {
    assert.deepEqual(await saved("glibc", "mysql", { "mysql.production.svc.cluster.local.": FOUND }), [["as configured", "", 2]]);
  });

  test("a dotted name of another namespace: with musl no lower ndots finds it", async () => {
    const ways = await saved("musl", "db.data", { "db.data.svc.cluster.local.": FOUND });
    assert.deepEqual(ways, [
      ["as configured", "", 4],
      ["trailing dot", "db.data.svc.cluster.local.", 2],
      ["autopath", "autopath @kubernetes", 2],
    ]);
  });
});
