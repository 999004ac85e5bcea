// Storms of ADD and DEL on ten nodes whose agents are killed at any moment: no address twice, none lost.
//
// In one process, where a node's death is an API that answers it no more from some call on (FAIRLEAD_STORMS_INSIDE=500); and
// with processes that are killed (FAIRLEAD_STORMS sets how many, FAIRLEAD_STORM_SEED which).
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type ObjectApi, objectsOf } from "../src/cluster/index.ts";
import type { AttachmentRecord } from "../src/cni/index.ts";
import { assignPod, type BlockIpam, Collector, podWishes } from "../src/ipam/index.ts";
import { answerCall } from "../src/lab/api-channel.ts";
import type { FromNode, ToNode } from "./ipam-node.ts";
import { type IpamWorld, makeIpamWorld } from "./ipam-objects.ts";
import { eventually } from "./patience.ts";

const NODES = 10;
const STORMS = Number(process.env.FAIRLEAD_STORMS ?? 5);

const STORMS_INSIDE = Number(process.env.FAIRLEAD_STORMS_INSIDE ?? 60);

/** Numbers that are the same at every run. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

class StormNode {
  readonly name: string;
  readonly directory: string;
  readonly #world: IpamWorld;
  #child: ChildProcess | undefined;
  #waiting: { readonly resolve: (how: string) => void; readonly reject: (error: Error) => void } | undefined;
  #stop: (() => void) | undefined;
  #dead: Promise<unknown> | undefined;

  constructor(name: string, directory: string, world: IpamWorld) {
    this.name = name;
    this.directory = directory;
    this.#world = world;
    mkdirSync(directory);
  }

  /** Starts the process anew; resolves once it has its blocks. */
  async start(): Promise<void> {
    const child = fork(new URL("./ipam-node.ts", import.meta.url), { execArgv: ["--disable-warning=ExperimentalWarning"] });
    this.#child = child;
    const send = (message: ToNode) => {
      // A process that was just killed takes nothing any more, and its end is told elsewhere.
      if (child.connected) child.send(message, () => {});
    };
    child.on("message", (message: FromNode) => {
      if (message.op === "api") void answerCall(this.#world.api, message).then(send);
      else if (message.op === "failed") this.#waiting?.reject(new Error(`${this.name}: ${message.message}`));
      else this.#waiting?.resolve(message.op);
    });
    child.on("exit", () => {
      if (this.#dead) this.#waiting?.resolve("exit");
      else this.#waiting?.reject(new Error(`${this.name}: its process ended by itself`));
    });
    this.#stop?.();
    const tellObjects = () => send({ op: "objects", objects: objectsOf(this.#world.source.snapshot) });
    this.#stop = this.#world.source.subscribe(tellObjects);
    tellObjects();
    const started = this.#next();
    send({ op: "start", node: this.name, directory: this.directory });
    assert.equal(await started, "ready");
  }

  /** Resolves to "done", or to "exit" where the process was killed. */
  storm(name: string, adds: number, deletes: number): Promise<string> {
    const ended = this.#next();
    this.#child?.send({ op: "storm", name: `${this.name}x${name}`, adds, deletes } satisfies ToNode, () => {});
    return ended;
  }

  kill(): void {
    const child = this.#child;
    if (!child || this.#dead) return;
    this.#dead = once(child, "exit");
    child.kill("SIGKILL");
  }

  /** Starts it anew where it was killed, also after its storm was over. */
  async revive(): Promise<void> {
    if (!this.#dead) return;
    await this.#dead;
    this.#dead = undefined;
    await this.start();
  }

  end(): void {
    this.#stop?.();
    if (this.#child?.connected) this.#child.disconnect();
  }

  /** What a restarted agent would find on disk. */
  records(): AttachmentRecord[] {
    return readdirSync(this.directory)
      .filter((file) => file.endsWith(".json"))
      .map((file) => JSON.parse(readFileSync(join(this.directory, file), "utf8")) as AttachmentRecord);
  }

  #next(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
  }
}

const onRecord = (nodes: readonly StormNode[]) =>
  nodes.flatMap((node) =>
    node.records().flatMap((record) => record.addresses.map((address) => `${address.replace(/\/.*/, "")} net.${record.containerId}`)),
  );

test(`${STORMS} storms on ${NODES} nodes, with kills: no address twice, none lost`, { timeout: 60_000 + STORMS * 5000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-storm-"));
  const names = Array.from({ length: NODES }, (_, i) => `node-${i}`);
  const world = makeIpamWorld({
    pools: { four: { cidr: "10.244.0.0/22", blockSize: 28 }, six: { cidr: "fd00::/118", blockSize: 124 } },
    nodes: Object.fromEntries(names.map((name) => [name, []])),
  });
  const nodes = names.map((name) => new StormNode(name, join(directory, name), world));
  const random = randomFrom(Number(process.env.FAIRLEAD_STORM_SEED ?? 7));
  try {
    await Promise.all(nodes.map((node) => node.start()));
    for (let storm = 0; storm < STORMS; storm++) {
      const fates = nodes.map((node) => {
        const ended = node.storm(String(storm), 4 + random(8), 4 + random(8));
        if (random(8) !== 0) return ended;
        const end = setTimeout(() => node.kill(), random(40));
        return ended.finally(() => clearTimeout(end));
      });
      await Promise.all(fates);
      await Promise.all(nodes.map((node) => node.revive()));

      const held = onRecord(nodes);
      const given = new Set(world.given());
      assert.equal(new Set(held.map((each) => each.split(" ")[0])).size, held.length, `storm ${storm}: an address has two owners`);
      assert.deepEqual(
        held.filter((each) => !given.has(each)),
        [],
        `storm ${storm}: an address is on record and not given out`,
      );
    }
    await eventually(() => world.given().length <= onRecord(nodes).length);
    assert.deepEqual(world.given().sort(), onRecord(nodes).sort(), "what nobody holds is given back");
  } finally {
    for (const node of nodes) node.end();
    world.close();
    rmSync(directory, { recursive: true, force: true });
  }
});

/** A node's part of an API, from which it may be cut off at any call: the last one may or may not be carried out. */
function mortalApi(api: ObjectApi, random: (below: number) => number): { readonly api: ObjectApi; dieAfter(calls: number): void } {
  let left = Number.POSITIVE_INFINITY;
  const killed = () => new Error("killed");
  const call = async <T>(action: () => Promise<T>): Promise<T> => {
    // Others come in between.
    if (random(3) === 0) await new Promise((resolve) => setImmediate(resolve));
    if (left-- <= 0) throw killed();
    const last = left <= 0;
    if (last && random(2) === 0) throw killed();
    const result = await action();
    if (last) throw killed();
    return result;
  };
  return {
    dieAfter(calls) {
      left = calls;
    },
    api: {
      get: (...args) => call(() => api.get(...args)) as never,
      list: (...args) => call(() => api.list(...args)) as never,
      create: (...args) => call(() => api.create(...args)) as never,
      update: (...args) => call(() => api.update(...args)) as never,
      delete: (...args) => call(() => api.delete(...args)),
    },
  };
}

/** A node as its agent is: an allocator, and records that outlive it. */
class MortalNode {
  readonly name: string;
  /** Container → addresses: what would be on disk. */
  readonly records = new Map<string, readonly string[]>();
  readonly #world: IpamWorld;
  readonly #random: (below: number) => number;
  #mortal: ReturnType<typeof mortalApi>;
  #ipam: BlockIpam;

  constructor(name: string, world: IpamWorld, random: (below: number) => number) {
    this.name = name;
    this.#world = world;
    this.#random = random;
    this.#mortal = mortalApi(world.api, random);
    this.#ipam = world.ipam(name, { api: this.#mortal.api });
  }

  async storm(storm: number, dies: boolean): Promise<boolean> {
    if (dies) this.#mortal.dieAfter(this.#random(60));
    const adds = Array.from({ length: 3 + this.#random(5) }, (_, i) => this.#add(`${this.name}x${storm}x${i}`));
    const going = [...this.records.keys()].slice(0, 3 + this.#random(5));
    const ends = await Promise.allSettled([...adds, ...going.map((container) => this.#remove(container))]);
    const failed = ends.flatMap((end) => (end.status === "rejected" ? [String(end.reason)] : []));
    assert.deepEqual(
      failed.filter((reason) => !/killed/.test(reason)),
      [],
    );
    return dies || failed.length > 0;
  }

  async #add(container: string): Promise<void> {
    const wishes = podWishes(this.#world.source.snapshot, this.name, { namespace: "", name: "" });
    this.records.set(container, await assignPod(this.#ipam, { handle: container, secondary: { node: this.name } }, wishes));
  }

  async #remove(container: string): Promise<void> {
    const addresses = this.records.get(container);
    this.records.delete(container);
    await this.#ipam.release(container, addresses);
  }

  /** A new agent over the same records: it reads its blocks, secures what is on record, and looks for what is lost. */
  async restart(): Promise<void> {
    this.#mortal = mortalApi(this.#world.api, this.#random);
    this.#ipam = this.#world.ipam(this.name, { api: this.#mortal.api });
    await this.#ipam.load();
    for (const [container, addresses] of this.records)
      for (const address of addresses) await this.#ipam.assignCertain({ handle: container, secondary: { node: this.name } }, address);
  }

  async collect(): Promise<void> {
    const collector = new Collector({
      node: this.name,
      api: this.#mortal.api,
      ipam: this.#ipam,
      snapshot: () => this.#world.source.snapshot,
      isHeld: (handle) => this.records.has(handle),
      grace: 0,
      now: () => this.#world.now,
    });
    await collector.round();
    await collector.round();
  }
}

test(`${STORMS_INSIDE} storms in one process: after each, every address on record is its pod's alone, and nothing else is given out`, async () => {
  const names = Array.from({ length: NODES }, (_, i) => `node-${i}`);
  const world = makeIpamWorld({
    pools: { four: { cidr: "10.244.0.0/22", blockSize: 28 }, six: { cidr: "fd00::/118", blockSize: 124 } },
    nodes: Object.fromEntries(names.map((name) => [name, []])),
  });
  const random = randomFrom(3);
  const nodes = names.map((name) => new MortalNode(name, world, random));
  let deaths = 0;
  for (let storm = 0; storm < STORMS_INSIDE; storm++) {
    world.now += 20_000;
    const died = await Promise.all(nodes.map((node) => node.storm(storm, random(5) === 0)));
    for (const [i, node] of nodes.entries()) {
      if (!died[i]) continue;
      deaths++;
      await node.restart();
    }
    // Looked for by those that died, and by the others, of which they may have borrowed.
    for (const node of nodes) await node.collect();
    const held = nodes.flatMap(({ records }) =>
      [...records].flatMap(([container, addresses]) => addresses.map((address) => `${address} ${container}`)),
    );
    assert.deepEqual(world.given().sort(), held.sort(), `storm ${storm}`);
    const handles = new Set(world.handles().map(({ spec }) => spec.handleID));
    assert.ok(
      nodes.every(({ records }) => [...records.keys()].every((container) => handles.has(container))),
      `storm ${storm}: every pod has its handle`,
    );
  }
  assert.ok(deaths > STORMS_INSIDE, `${deaths} deaths`);
  world.close();
});
