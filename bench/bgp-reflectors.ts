// A mesh of nodes behind three route reflectors: how long until one node's change is known everywhere.
//
//   node bench/bgp-reflectors.ts [NODES] [REFLECTORS]      as root
//
// Each reflector is a process of its own with our speaker; the nodes are neighbours that this process plays: each has a session with every
// reflector, announces its block, and reads what comes. Measured: from the first connection until every node has every block from every
// reflector; then, for one node's new and withdrawn prefix, until all other nodes have heard it from all reflectors.
import { readFileSync } from "node:fs";
import { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { textTable } from "../src/base/index.ts";
import { attributesOf, encodeMessage, nlriOf, PLAIN_CONTEXT, plainTransport, startSpeaker } from "../src/bgp/index.ts";
import { type BgpNetwork, makeBgpNetwork } from "../test/bgp-network.ts";
import { frames } from "./bgp-frames.ts";

const AS = 64512;
const CONTEXT = { ...PLAIN_CONTEXT, fourByteAs: true };
const [nodes = 1000, reflectors = 3] = process.argv
  .slice(2)
  .filter((word) => /^\d+$/.test(word))
  .map(Number);
const CHANGES = 20;
const nodeAddress = (index: number) => `10.1.${index >> 8}.${index & 255}`;
const reflectorAddress = (index: number) => `10.1.255.${index + 1}`;
const block = (index: number) => `10.244.${index >> 2}.${(index & 3) * 64}/26`;

/** One reflector: every node a client, the other reflectors plain neighbours. */
function reflect(own: number): void {
  const speaker = startSpeaker({
    localAs: AS,
    routerId: reflectorAddress(own),
    clusterId: "244.0.0.1",
    families: [4],
    transport: plainTransport({ listen: [{ address: reflectorAddress(own), port: 179 }] }),
  });
  const others = Array.from({ length: reflectors }, (_, index) => index).filter((index) => index !== own);
  speaker.setPeers([
    ...others.map((index) => ({
      name: `r${index}`,
      address: reflectorAddress(index),
      as: AS,
      localAddress: reflectorAddress(own),
      holdSeconds: 240,
    })),
    ...Array.from({ length: nodes }, (_, index) => ({
      name: `n${index}`,
      address: nodeAddress(index),
      as: AS,
      passive: true,
      reflectorClient: true,
      holdSeconds: 240,
    })),
  ]);
}

/** One node's session with one reflector. */
class Session {
  readonly up: Promise<void>;
  /** Prefixes that came. */
  known = 0;
  onKnown: (() => void) | undefined;
  /** Told of a prefix's coming or going: the bytes of its address. */
  awaited: { readonly address: number; readonly withdrawn: boolean; readonly done: () => void } | undefined;
  readonly #socket: Socket;

  constructor(on: BgpNetwork, node: number, reflector: number) {
    this.#socket = new Socket({ fd: on.ours.openSocket({ protocol: "tcp", family: 4 }), manualStart: true } as never);
    this.#socket.connect({ host: reflectorAddress(reflector), port: 179, localAddress: nodeAddress(node) });
    const capabilities = [
      { type: "multiprotocol", family: 4 },
      { type: "four-byte-as", as: AS },
    ] as const;
    this.up = new Promise((resolve, reject) => {
      this.#socket.once("connect", () => {
        const routerId = (0x0a010000 + node) >>> 0;
        this.#socket.write(encodeMessage({ type: "open", as: AS, holdSeconds: 240, routerId, capabilities }, CONTEXT));
      });
      this.#socket.on("error", reject);
      const read = frames((type, bytes, from, end) => {
        if (type === 1) this.#socket.write(encodeMessage({ type: "keepalive" }, CONTEXT));
        else if (type === 4) resolve();
        else if (type === 2) this.#update(bytes, from, end);
      });
      this.#socket.on("data", read);
    });
  }

  send(prefix: string, nextHop: string, withdrawn = false): void {
    const nlri = nlriOf(4, [{ prefix }]);
    const update = withdrawn
      ? ({ type: "update", announced: [], withdrawn: [nlri], problems: [] } as const)
      : ({
          type: "update",
          announced: [{ nlri, attributes: attributesOf({ nextHop, localPref: 100 }) }],
          withdrawn: [],
          problems: [],
        } as const);
    this.#socket.write(encodeMessage(update, CONTEXT));
  }

  #update(bytes: Buffer, from: number, end: number): void {
    const attributes = from + 2 + bytes.readUInt16BE(from);
    this.#prefixes(bytes, from + 2, attributes, true);
    this.#prefixes(bytes, attributes + 2 + bytes.readUInt16BE(attributes), end, false);
    this.onKnown?.();
  }

  #prefixes(bytes: Buffer, from: number, end: number, withdrawn: boolean): void {
    for (let at = from; at < end; at += 1 + (((bytes[at] ?? 0) + 7) >>> 3)) {
      this.known += withdrawn ? -1 : 1;
      const { awaited } = this;
      if (awaited && awaited.withdrawn === withdrawn && bytes.readUInt32BE(at + 1) === awaited.address) awaited.done();
    }
  }
}

async function measure(): Promise<void> {
  const on = makeBgpNetwork();
  const add = (namespace: BgpNetwork["ours"], address: string) => namespace.apply({ op: "add", address: { link: "eth0", address } });
  for (let index = 0; index < nodes; index++) add(on.ours, `${nodeAddress(index)}/16`);
  for (let index = 0; index < reflectors; index++) add(on.theirs, `${reflectorAddress(index)}/16`);
  const children = Array.from({ length: reflectors }, (_, index) =>
    on.start(process.execPath, [
      "--disable-warning=ExperimentalWarning",
      fileURLToPath(import.meta.url),
      "reflector",
      String(nodes),
      String(reflectors),
      String(index),
    ]),
  );
  while (on.ask("/bin/ss", ["-Hltn", "sport = :179"]).trim().split("\n").length < reflectors)
    await new Promise((resolve) => setTimeout(resolve, 100));
  const started = performance.now();
  const sessions: Session[][] = [];
  for (let node = 0; node < nodes; node++) {
    const own = Array.from({ length: reflectors }, (_, reflector) => new Session(on, node, reflector));
    await Promise.all(own.map(({ up }) => up));
    for (const session of own) session.send(block(node), nodeAddress(node));
    sessions.push(own);
  }
  await Promise.all(
    sessions.flat().map(
      (session) =>
        new Promise<void>((resolve) => {
          session.onKnown = () => session.known >= nodes - 1 && resolve();
          session.onKnown();
        }),
    ),
  );
  const filled = (performance.now() - started) / 1000;
  const spread = async (number: number, withdrawn: boolean) => {
    const prefix = `10.250.${number}.0/32`;
    const address = (0x0afa0000 + (number << 8)) >>> 0;
    const from = performance.now();
    const others = sessions.slice(1).flat();
    const done = Promise.all(
      others.map((session) => new Promise<void>((resolve) => (session.awaited = { address, withdrawn, done: resolve }))),
    );
    for (const session of sessions[0] ?? []) session.send(prefix, nodeAddress(0), withdrawn);
    await done;
    return performance.now() - from;
  };
  const rows: string[][] = [];
  const times = { announced: [] as number[], withdrawn: [] as number[] };
  for (let change = 0; change < CHANGES; change++) {
    times.announced.push(await spread(change, false));
    times.withdrawn.push(await spread(change, true));
  }
  for (const [what, measured] of Object.entries(times)) {
    measured.sort((a, b) => a - b);
    rows.push([`a prefix ${what}`, `${measured[Math.floor(CHANGES / 2)]?.toFixed(0)} ms`, `${measured.at(-1)?.toFixed(0)} ms`]);
  }
  const memory = children.map(({ pid }) =>
    Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024),
  );
  console.log(
    `${nodes} nodes behind ${reflectors} reflectors; every node has every block from each after ${filled.toFixed(1)} s; memory of the reflectors: ${memory.join(", ")} MB`,
  );
  console.log(textTable(["known to every node, by every reflector", "median", "longest"], rows));
  on.close();
  process.exit(0);
}

if (process.argv[2] === "reflector") reflect(Number(process.argv[5]));
else await measure();
