// Storms of ADD and DEL on ten nodes whose agents are killed at any moment: no address twice, none lost.
// FAIRLEAD_STORMS sets how many (a few by default), FAIRLEAD_STORM_SEED which.
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { objectsOf } from "../src/cluster/index.ts";
import type { AttachmentRecord } from "../src/cni/index.ts";
import { answerCall } from "../src/lab/api-channel.ts";
import type { FromNode, ToNode } from "./ipam-node.ts";
import { type IpamWorld, makeIpamWorld } from "./ipam-objects.ts";

const NODES = 10;
const STORMS = Number(process.env.FAIRLEAD_STORMS ?? 5);

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
      if (child === this.#child) this.#waiting?.resolve("exit");
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
    this.#child?.kill("SIGKILL");
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
        if (random(8) === 0) setTimeout(() => node.kill(), random(40));
        return ended;
      });
      const ends = await Promise.all(fates);
      await Promise.all(nodes.map((node, i) => (ends[i] === "exit" ? node.start() : undefined)));

      const held = onRecord(nodes);
      const given = new Set(world.given());
      assert.equal(new Set(held.map((each) => each.split(" ")[0])).size, held.length, `storm ${storm}: an address has two owners`);
      assert.deepEqual(
        held.filter((each) => !given.has(each)),
        [],
        `storm ${storm}: an address is on record and not given out`,
      );
    }
    // A kill that came too late for its storm.
    await new Promise((resolve) => setTimeout(resolve, 100));
    for (let i = 0; i < 100 && world.given().length > onRecord(nodes).length; i++) await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(world.given().sort(), onRecord(nodes).sort(), "what nobody holds is given back");
  } finally {
    for (const node of nodes) node.end();
    world.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
