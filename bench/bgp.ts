// Taking in routes: our speaker, BIRD, FRR and GoBGP, each with the same neighbours and routes. Time to a stable RIB, and memory.
//
//   node bench/bgp.ts [NEIGHBOURS] [ROUTES] [ROUTES PER ATTRIBUTE SET] [only=BIRD,fairlead] [limit=SECONDS]
//
// As root, with bird2, frr and gobgpd installed. Who takes longer than the limit (300 s) is shown with how far it came.
//
// Each neighbour (an AS of its own) sends routes that nobody else has, and is sent everybody else's. What is measured is the time from the
// first UPDATE until one more neighbour, the monitor, has all routes, and the speaker's resident memory then. The neighbours write
// prepared bytes and count prefixes; all of them live in this process, the speaker in one of its own.
import { type ChildProcess, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { textTable } from "../src/base/index.ts";
import { attributesOf, encodeMessage, nlriOf, PLAIN_CONTEXT, plainTransport, startSpeaker } from "../src/bgp/index.ts";
import { type BgpNetwork, makeBgpNetwork } from "../test/bgp-network.ts";
import { startBgpd, startBird, startGobgpd } from "../test/bgp-programs.ts";
import { frames } from "./bgp-frames.ts";

/** The speakers run in the namespace that is called theirs. */
const SPEAKER = "10.0.0.2";
const OUR_AS = 64512;
const numbers = process.argv.filter((word) => /^\d+$/.test(word)).map(Number);
/** The longest that one speaker may take, in milliseconds. */
const LIMIT_MS = 1000 * Number(process.argv.find((word) => word.startsWith("limit="))?.slice("limit=".length) ?? 300);
const [neighbours = 10, routes = 10_000, perSet = 10] = numbers;
const CONTEXT = { ...PLAIN_CONTEXT, fourByteAs: true };
const TOTAL = neighbours * routes;
const addressOf = (index: number) => `10.0.0.${30 + index}`;
const asOf = (index: number) => 65000 + index;
const indexes = Array.from({ length: neighbours + 1 }, (_, index) => index);

/** The contender that is ours, in a process that was started inside the namespace. */
function serve(): void {
  const speaker = startSpeaker({
    localAs: OUR_AS,
    routerId: SPEAKER,
    families: [4],
    transport: plainTransport({ listen: [{ address: SPEAKER, port: 179 }] }),
  });
  speaker.setPeers(
    indexes.map((index) => ({ name: `n${index}`, address: addressOf(index), as: asOf(index), passive: true, holdSeconds: 240 })),
  );
}

interface Contender {
  readonly name: string;
  readonly there: boolean;
  start(on: BgpNetwork): ChildProcess;
}

function contenders(): Contender[] {
  return [
    {
      name: "fairlead",
      there: true,
      start: (on) => on.start(process.execPath, [fileURLToPath(import.meta.url), "speaker", ...[neighbours, routes, perSet].map(String)]),
    },
    {
      name: "BIRD",
      there: existsSync("/usr/sbin/bird"),
      start(on) {
        const peers = indexes.map(
          (
            index,
          ) => `protocol bgp n${index} { local ${SPEAKER} as ${OUR_AS}; neighbor ${addressOf(index)} as ${asOf(index)}; passive on; hold time 240;
            ipv4 { import all; export all; next hop self; }; }`,
        );
        return startBird(on, `router id ${SPEAKER};\nprotocol device {}\n${peers.join("\n")}\n`).process();
      },
    },
    {
      name: "FRR",
      there: existsSync("/usr/lib/frr/bgpd"),
      start(on) {
        const peers = indexes.map(addressOf);
        return startBgpd(
          on,
          `frr defaults datacenter
router bgp ${OUR_AS}
 bgp router-id ${SPEAKER}
 no bgp ebgp-requires-policy
${peers.map((peer, index) => ` neighbor ${peer} remote-as ${asOf(index)}\n neighbor ${peer} passive\n neighbor ${peer} timers 80 240`).join("\n")}
 address-family ipv4 unicast
${peers.map((peer) => `  neighbor ${peer} activate`).join("\n")}
 exit-address-family
`,
        ).process();
      },
    },
    {
      name: "GoBGP",
      there: existsSync("/usr/bin/gobgpd"),
      start(on) {
        const peers = indexes.map(
          (index) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${addressOf(index)}"
    peer-as = ${asOf(index)}
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.timers.config]
    hold-time = 240`,
        );
        return startGobgpd(on, `[global.config]\n  as = ${OUR_AS}\n  router-id = "${SPEAKER}"\n${peers.join("\n")}\n`).process();
      },
    },
  ];
}

/** A neighbour's UPDATEs, prepared. */
function updatesOf(index: number): Buffer {
  const messages: Buffer[] = [];
  for (let from = 0; from < routes; from += perSet) {
    const set = index * routes + from;
    const path = [asOf(index), 100_000 + (set % 50_000), 200_000 + (Math.floor(set / 7) % 50_000)];
    const attributes = attributesOf({
      asPath: [{ type: "sequence", ases: path }],
      nextHop: addressOf(index),
      communities: [((asOf(index) << 16) | (set % 1000)) >>> 0],
    });
    const entries = Array.from({ length: Math.min(perSet, routes - from) }, (_, i) => {
      const number = set + i;
      return { prefix: `${16 + (number >>> 16)}.${(number >>> 8) & 255}.${number & 255}.0/24` };
    });
    const announced = [{ nlri: nlriOf(4, entries), attributes }];
    messages.push(encodeMessage({ type: "update", announced, withdrawn: [], problems: [] }, CONTEXT));
  }
  return Buffer.concat(messages);
}

/** A neighbour: opens, answers, counts the prefixes that come in. */
class Neighbour {
  received = 0;
  readonly established: Promise<void>;
  onReceived: (() => void) | undefined;
  readonly #socket: Socket;

  constructor(on: BgpNetwork, index: number) {
    this.#socket = new Socket({ fd: on.ours.openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
    this.#socket.connect({ host: SPEAKER, port: 179, localAddress: addressOf(index) });
    const open = {
      type: "open",
      as: asOf(index),
      holdSeconds: 240,
      routerId: 0x0a000000 + 30 + index,
      capabilities: [
        { type: "multiprotocol", family: 4 },
        { type: "four-byte-as", as: asOf(index) },
      ],
    } as const;
    this.established = new Promise((resolve, reject) => {
      this.#socket.once("connect", () => this.#socket.write(encodeMessage(open, CONTEXT)));
      this.#socket.on("error", reject);
      const read = frames((type, bytes, from, end) => {
        if (type === 1) this.#socket.write(encodeMessage({ type: "keepalive" }, CONTEXT));
        else if (type === 4) resolve();
        else if (type === 2) this.#count(bytes, from, end);
        else if (type === 3) console.error(`the speaker ended the session: ${bytes.subarray(from, end).toString("hex")}`);
      });
      this.#socket.on("data", (chunk: Buffer) => {
        read(chunk);
        this.onReceived?.();
      });
    });
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  close(): void {
    this.#socket.destroy();
  }

  #count(bytes: Buffer, from: number, end: number): void {
    const attributes = from + 2 + bytes.readUInt16BE(from);
    for (let at = attributes + 2 + bytes.readUInt16BE(attributes); at < end; at += 1 + (((bytes[at] ?? 0) + 7) >>> 3)) this.received++;
  }
}

async function measure(contender: Contender, prepared: readonly Buffer[]): Promise<readonly string[]> {
  const on = makeBgpNetwork();
  for (const index of indexes) on.ours.apply({ op: "add", address: { link: "eth0", address: `${addressOf(index)}/24` } });
  const child = contender.start(on);
  try {
    await listening(on);
    const [monitor, ...testers] = [...indexes].reverse().map((index) => new Neighbour(on, index));
    if (!monitor) throw new Error("no monitor");
    await Promise.all([monitor, ...testers].map(({ established }) => established));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = cpuOf(child);
    const started = performance.now();
    const all = new Promise<number | undefined>((resolve) => {
      setTimeout(() => resolve(undefined), LIMIT_MS).unref();
      const everybody = [monitor, ...testers];
      let monitorAt = 0;
      for (const each of everybody) {
        each.onReceived = () => {
          if (monitor.received >= TOTAL) monitorAt ||= performance.now();
          if (monitorAt > 0 && testers.every(({ received }) => received >= TOTAL - routes)) resolve(monitorAt);
        };
      }
    });
    for (const [at, tester] of testers.entries()) tester.write(prepared[neighbours - 1 - at] ?? Buffer.alloc(0));
    const monitorAt = await all;
    const seconds = (until: number) => `${((until - started) / 1000).toFixed(2)} s`;
    const took =
      monitorAt === undefined
        ? [`not in ${LIMIT_MS / 1000} s: ${monitor.received} of ${TOTAL}`, ""]
        : [seconds(monitorAt), seconds(performance.now())];
    const row = [contender.name, ...took, `${(cpuOf(child) - before).toFixed(2)} s`, `${Math.round(memoryOf(child))} MB`];
    for (const each of [monitor, ...testers]) each.close();
    return row;
  } finally {
    on.close();
  }
}

async function listening(on: BgpNetwork): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (on.ask("/bin/ss", ["-Hltn", "sport = :179"]).trim() !== "") return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the speaker does not listen");
}

function memoryOf({ pid }: ChildProcess): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;
}

/** Seconds of processor time. */
function cpuOf({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / Number(spawnSync("getconf", ["CLK_TCK"], { encoding: "utf8" }).stdout);
}

async function compare(): Promise<void> {
  console.log(`${neighbours} neighbours with ${routes} routes each, ${perSet} routes with equal attributes`);
  const prepared = indexes.slice(0, neighbours).map(updatesOf);
  const rows: (readonly string[])[] = [];
  const only = process.argv
    .find((word) => word.startsWith("only="))
    ?.slice(5)
    .split(",");
  for (const contender of contenders().filter(({ name }) => only?.includes(name) ?? true)) {
    if (!contender.there) console.log(`NOT RUN: ${contender.name} is missing`);
    else rows.push(await measure(contender, prepared));
  }
  console.log(textTable(["speaker", "monitor has all", "everybody has all", "processor time", "peak memory"], rows));
  process.exit(0);
}

if (process.argv[2] === "speaker") serve();
else await compare();
