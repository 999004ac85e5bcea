// The model of glibc's and musl's resolvers against the resolvers themselves: the same questions on the wire, in the same
// order, and the same end.
import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { decodeMessage, encodeMessage, parseResolvConf, type ResolverKind, walkLookup } from "../src/dns/index.ts";
import { createLinuxKernel, type NetworkNamespace } from "../src/kernel/index.ts";
import { until } from "./patience.ts";
import { compileResolvers, runWithResolvConf } from "./resolvers.ts";

const SERVERS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
const POD = "search production.svc.cluster.local svc.cluster.local cluster.local";
const A = 1;
const AAAA = 28;

/** The shortest time after which a resolver asks again here is half a second, musl's. */
const IN_TIME_MS = 400;
const LOOK_MS = 20;

/** How a name is answered: an rcode, with an address or without; "A" has one for A only; "silent" never. */
type Manner = "found" | "A" | "nodata" | "nxdomain" | "servfail" | "refused" | "silent";
type World = Readonly<Record<string, Manner>>;
const RCODES: Readonly<Record<Exclude<Manner, "silent">, number>> = { found: 0, A: 0, nodata: 0, nxdomain: 3, servfail: 2, refused: 5 };

interface Scenario {
  readonly what: string;
  readonly options: string;
  readonly servers?: number;
  readonly search?: string;
  readonly name: string;
  readonly world: World;
}

const S = "production.svc.cluster.local.";
const SCENARIOS: readonly Scenario[] = [
  { what: "the own namespace", options: "ndots:5", name: "mysql", world: { [`mysql.${S}`]: "found" } },
  { what: "another namespace", options: "ndots:5", name: "db.data", world: { "db.data.svc.cluster.local.": "A" } },
  { what: "an outside name", options: "ndots:5", name: "www.example.com", world: { "www.example.com.": "found" } },
  { what: "a trailing dot", options: "ndots:5", name: "www.example.com.", world: {} },
  { what: "ndots reached, name not there", options: "ndots:2", name: "www.example.com", world: {} },
  { what: "ndots reached, found on the path", options: "ndots:1", name: "db.data", world: { "db.data.svc.cluster.local.": "found" } },
  { what: "no data on the path", options: "ndots:5", name: "a", world: { [`a.${S}`]: "nodata", "a.svc.cluster.local.": "found" } },
  { what: "no data, then nothing", options: "ndots:5", name: "a", world: { [`a.${S}`]: "nodata" } },
  {
    what: "a failing server",
    options: "ndots:5 timeout:1 attempts:2",
    name: "a",
    world: { [`a.${S}`]: "servfail", "a.svc.cluster.local.": "found" },
  },
  { what: "a refusing server", options: "ndots:5 timeout:1 attempts:2", name: "a", world: { [`a.${S}`]: "refused" } },
  { what: "silence", options: "ndots:5 timeout:1 attempts:2", name: "a", world: { [`a.${S}`]: "silent" } },
  {
    what: "the first server refuses",
    options: "timeout:1 attempts:1",
    servers: 2,
    name: "b.example",
    world: { "127.0.0.1": "refused", "b.example.": "found" },
  },
  {
    what: "the first server is silent",
    options: "timeout:1 attempts:2",
    servers: 3,
    name: "b.example",
    world: { "127.0.0.1": "silent", "b.example.": "found" },
  },
  {
    what: "all are silent",
    options: "timeout:1 attempts:1",
    servers: 2,
    name: "b.example.",
    world: { "127.0.0.1": "silent", "127.0.0.2": "silent" },
  },
  { what: "single-request", options: "ndots:5 single-request", name: "mysql", world: { [`mysql.${S}`]: "A" } },
  { what: "no-tld-query", options: "ndots:5 no-tld-query", name: "x", world: {} },
  { what: "ndots:0", options: "ndots:0", name: "x", world: {} },
  {
    what: "a long search list",
    options: "ndots:5",
    search: `search ${Array.from({ length: 9 }, (_, i) => `${"x".repeat(26)}${i}.example`).join(" ")}`,
    name: "a",
    world: {},
  },
];

const directory = mkdtempSync(join(tmpdir(), "fairlead-resolvers-"));
const programs = compileResolvers(directory);

describe("the model against the resolver itself", {
  skip: process.getuid?.() === 0 ? false : "NOT RUN: it needs root, or root of a user namespace",
}, () => {
  let namespace: NetworkNamespace;
  const sockets: ReturnType<typeof createSocket>[] = [];
  let world: World = {};
  let seen: string[] = [];

  before(() => {
    namespace = createLinuxKernel().createNamespace();
    namespace.apply({ op: "set", link: { name: "lo", up: true } });
    for (const server of SERVERS) sockets.push(serve(server));
  });
  after(() => {
    for (const socket of sockets) socket.close();
    namespace.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** A server that writes down what it is asked, and answers as the world says. */
  function serve(address: string) {
    const socket = createSocket("udp4");
    socket.on("message", (bytes, remote) => {
      const query = decodeMessage(bytes);
      const [question] = query.questions;
      if (!question) return;
      seen.push(`${question.name} ${question.type} @${address}`);
      const manner = mannerOf(world, address, question.name);
      if (manner === "silent") return;
      const has = manner === "found" || (manner === "A" && question.type === A);
      const data = question.type === A ? ({ type: "A", address: "10.1.2.3" } as const) : ({ type: "AAAA", address: "fd00::1" } as const);
      const { edns: _edns, ...plain } = query;
      const answer = {
        ...plain,
        response: true,
        recursionAvailable: true,
        rcode: RCODES[manner],
        answers: has ? [{ name: question.name, class: 1, ttl: 5, data }] : [],
      };
      socket.send(encodeMessage(answer), remote.port, remote.address);
    });
    socket.bind({ fd: namespace.bindSocket({ protocol: "udp", address, port: 53 }) });
    return socket;
  }

  for (const kind of ["glibc", "musl"] as const) {
    for (const scenario of SCENARIOS) {
      const program = programs[kind];
      test(`${kind}: ${scenario.what}`, {
        skip: program === undefined && `NOT RUN: no compiler for ${kind} (Debian: musl-tools)`,
      }, async () => {
        const conf = [
          scenario.search ?? POD,
          ...SERVERS.slice(0, scenario.servers ?? 1).map((server) => `nameserver ${server}`),
          `options ${scenario.options}`,
          "",
        ].join("\n");
        const file = join(directory, "resolv.conf");
        writeFileSync(file, conf);
        world = scenario.world;
        let out = "";
        const exchange = async () => {
          seen = [];
          out = await runWithResolvConf(namespace.path, file, [program ?? "", scenario.name]);
        };
        // Servers that stand still are asked again, or out of turn: such an exchange says nothing about the resolver.
        await until(async () => (await longestStandstill(exchange)) < IN_TIME_MS, "the servers answer in time");
        const end = out.split(/\s+/)[1] ?? "";
        assert.deepEqual(comparable(kind, { asks: seen, end }), comparable(kind, await model(kind, conf, scenario)));
      });
    }
  }
});

/** For how long this process stood still in one piece meanwhile, in milliseconds. */
async function longestStandstill(meanwhile: () => Promise<void>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const look = () => {
    longest = Math.max(longest, performance.now() - last - LOOK_MS);
    last = performance.now();
  };
  const looking = setInterval(look, LOOK_MS);
  await meanwhile();
  clearInterval(looking);
  look();
  return longest;
}

function mannerOf(world: World, server: string, name: string): Manner {
  return world[server] ?? world[name.toLowerCase()] ?? "nxdomain";
}

async function model(resolver: ResolverKind, text: string, { name, world }: Scenario) {
  const conf = parseResolvConf(text, resolver);
  const { steps, result } = await walkLookup({ resolver, conf, name, types: [A, AAAA] }, async (ask) => {
    const manner = mannerOf(world, ask.server, ask.name);
    return manner === "silent"
      ? undefined
      : { rcode: RCODES[manner], records: manner === "found" || (manner === "A" && ask.type === A) ? 1 : 0 };
  });
  return { asks: steps.map(({ ask }) => `${ask.name} ${ask.type} @${ask.server}`), end: result.outcome };
}

/** Sockets of several servers are read in any order; musl before 1.2.4 tells a name without data from no name by nothing. */
function comparable(kind: ResolverKind, { asks, end }: { readonly asks: readonly string[]; readonly end: string }) {
  if (kind === "glibc") return { asks, end };
  const serverOf = (ask: string) => ask.split("@")[1] ?? "";
  return { asks: [...asks].sort((a, b) => serverOf(a).localeCompare(serverOf(b))), end: end === "no-data" ? "no-name" : end };
}
