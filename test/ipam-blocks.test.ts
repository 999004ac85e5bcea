// Blocks over the embedded API: whose an address is, whatever is going on at the same time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiConflict, type ObjectApi } from "../src/cluster/index.ts";
import {
  type AddressOwner,
  assignPod,
  type BlockAffinity,
  Collector,
  IPAM_RESOURCES,
  type IpamBlock,
  podWishes,
} from "../src/ipam/index.ts";
import type { KubeObject } from "../src/resources/index.ts";
import { type IpamWorld, makeIpamWorld, NODES, poolObject } from "./ipam-objects.ts";

const POOL = { cidr: "10.244.0.0/16", blockSize: 26 };
const owner = (handle: string, node = "node-1", pod = handle): AddressOwner => ({ handle, secondary: { node, namespace: "shop", pod } });
const affinities = (world: IpamWorld) =>
  world.store.list<BlockAffinity>(IPAM_RESOURCES.affinities).items.map(({ spec }) => `${spec.node} ${spec.cidr} ${spec.state}`);

function withWorld(options: Parameters<typeof makeIpamWorld>[0], run: (world: IpamWorld) => Promise<void>): () => Promise<void> {
  return async () => {
    const world = makeIpamWorld(options);
    try {
      await run(world);
    } finally {
      world.close();
    }
  };
}
const two = { pools: { main: POOL }, nodes: { "node-1": ["10.244.0.0/24"], "node-2": ["10.244.1.0/24"] } };

test(
  "the objects are as Calico's store has them",
  withWorld(two, async (world) => {
    const ipam = world.ipam("node-1");
    assert.equal(await ipam.assign(owner("net.abc"), world.pools()), "10.244.0.2");
    assert.equal(await ipam.assign(owner("net.def"), world.pools()), "10.244.0.3");
    const [block] = world.blocks();
    const { allocations, unallocated, ...spec } = block?.spec ?? assert.fail();
    assert.equal(block?.metadata.name, "10-244-0-0-26");
    assert.deepEqual(spec, {
      cidr: "10.244.0.0/26",
      affinity: "host:node-1",
      attributes: [
        { handle_id: "net.abc", secondary: { node: "node-1", namespace: "shop", pod: "net.abc" } },
        { handle_id: "net.def", secondary: { node: "node-1", namespace: "shop", pod: "net.def" } },
      ],
      sequenceNumber: 1_000_002,
      sequenceNumberForAllocation: { 2: 1_000_001, 3: 1_000_002 },
      strictAffinity: false,
      deleted: false,
    });
    assert.deepEqual(allocations.slice(0, 5), [null, null, 0, 1, null]);
    assert.deepEqual([unallocated.length, unallocated[0], unallocated.slice(-2)], [62, 4, [0, 1]]);
    assert.deepEqual(affinities(world), ["node-1 10.244.0.0/26 confirmed"]);
    assert.deepEqual(
      world.handles().map(({ metadata, spec }) => [metadata.name, spec]),
      [
        ["net.abc", { handleID: "net.abc", block: { "10.244.0.0/26": 1 }, deleted: false }],
        ["net.def", { handleID: "net.def", block: { "10.244.0.0/26": 1 }, deleted: false }],
      ],
    );
    await ipam.release("net.abc");
    assert.deepEqual(world.given(), ["10.244.0.3 net.def"]);
    assert.deepEqual(
      world.handles().map(({ metadata }) => metadata.name),
      ["net.def"],
    );
    assert.deepEqual(world.blocks()[0]?.spec.unallocated.slice(-1), [2]);
  }),
);

test(
  "own blocks, then a new one of the own podCIDR, then one elsewhere; another node's podCIDR last",
  withWorld({ ...two, pools: { main: { cidr: "10.244.0.0/22", blockSize: 25 } } }, async (world) => {
    const ipam = world.ipam("node-1");
    for (let i = 0; i < 256; i++) await ipam.assign(owner(`h${i}`), world.pools());
    assert.deepEqual(affinities(world), ["node-1 10.244.0.0/25 confirmed", "node-1 10.244.0.128/25 confirmed"]);
    for (let i = 0; i < 512; i++) await ipam.assign(owner(`i${i}`), world.pools());
    assert.deepEqual(
      affinities(world).filter((each) => /10\.244\.[01]\./.test(each)).length,
      2,
      "another's podCIDR is left to it as long as there is something else",
    );
    await ipam.assign(owner("more"), world.pools());
    assert.equal(affinities(world).length, 7);
    assert.equal(new Set(world.given().map((each) => each.split(" ")[0])).size, 769);
  }),
);

test(
  "an overlay's node keeps its podCIDR to itself",
  withWorld({ ...two, pools: { main: { cidr: "10.244.0.0/23", blockSize: 24 } } }, async (world) => {
    const node = world.store.get(NODES, undefined, "node-2") as KubeObject;
    const { annotations: _, ...metadata } = node.metadata;
    world.store.update(NODES, { ...node, metadata });
    const ipam = world.ipam("node-1");
    for (let i = 0; i < 256; i++) await ipam.assign(owner(`h${i}`), world.pools());
    await assert.rejects(ipam.assign(owner("more"), world.pools()), /pools-full|no address is free in pool main/);
  }),
);

test(
  "without a block left, addresses are borrowed, unless affinity is strict; what is borrowed goes back to its block",
  withWorld({ ...two, pools: { main: { cidr: "10.244.0.0/28", blockSize: 28 } } }, async (world) => {
    const [first, second] = [world.ipam("node-1"), world.ipam("node-2")];
    await first.assign(owner("a"), world.pools());
    const borrowed = await second.assign(owner("b", "node-2"), world.pools());
    assert.deepEqual(affinities(world), ["node-1 10.244.0.0/28 confirmed"]);
    assert.deepEqual(world.given(), ["10.244.0.2 a", `${borrowed} b`]);
    await second.release("b", [borrowed]);
    assert.deepEqual(world.given(), ["10.244.0.2 a"]);
    world.store.create({ group: "crd.projectcalico.org", version: "v1", plural: "ipamconfigs" }, {
      apiVersion: "crd.projectcalico.org/v1",
      kind: "IPAMConfig",
      metadata: { name: "default" },
      spec: { strictAffinity: true, autoAllocateBlocks: true },
    } as KubeObject);
    await assert.rejects(second.assign(owner("b", "node-2"), world.pools()), /strictAffinity keeps the node/);
  }),
);

test(
  "an address rests after it was given back, longest rested first; a full pool takes what rests rather than nothing",
  withWorld({ ...two, pools: { main: { cidr: "10.244.0.0/29", blockSize: 29 } } }, async (world) => {
    const ipam = world.ipam("node-1");
    const take = (handle: string) => ipam.assign(owner(handle), world.pools());
    assert.equal(await take("a"), "10.244.0.2");
    await ipam.release("a");
    for (const handle of ["b", "c", "d", "e", "f"]) await take(handle);
    assert.equal(await take("g"), "10.244.0.0", "all others come before the one that rests");
    world.now += 10_000;
    await ipam.release("c");
    assert.equal(await take("h"), "10.244.0.1");
    assert.equal(await take("i"), "10.244.0.2", "rests, and is taken all the same");
    assert.equal(await take("j"), "10.244.0.4");
    await assert.rejects(take("k"), /no address is free/);
  }),
);

test(
  "reserved and disabled, by node, by namespace, by annotation: where a pod's addresses come from",
  withWorld(
    {
      nodes: { "node-1": [], "node-2": [] },
      pools: {
        a: { cidr: "10.1.0.0/24", nodeSelector: "name == 'node-1'", blockSize: 29 },
        b: { cidr: "10.2.0.0/24", namespaceSelector: "team == 'blue'" },
        c: { cidr: "10.3.0.0/24", disabled: true },
        d: { cidr: "10.4.0.0/24", assignmentMode: "Manual" },
        e: { cidr: "fd00::/120", blockSize: 122, nodeSelector: "name == 'node-1'" },
        f: { cidr: "10.5.0.0/24", allowedUses: ["Tunnel"] },
      },
    },
    async (world) => {
      const { store } = world;
      const core = (plural: string) => ({ group: "", version: "v1", plural });
      const put = (kind: string, name: string, more: object, namespace?: string) =>
        store.create(core(`${kind.toLowerCase()}s`), {
          apiVersion: "v1",
          kind,
          metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...more },
          ...(kind === "Pod" ? { spec: { containers: [] } } : {}),
        } as KubeObject);
      put("Namespace", "shop", {});
      put("Namespace", "blue", { labels: { team: "blue" } });
      put("Namespace", "fixed", { annotations: { "cni.projectcalico.org/ipv4pools": '["d"]' } });
      const pod = (name: string, annotations: object, namespace = "shop") => put("Pod", name, { annotations }, namespace);
      pod("named", { "cni.projectcalico.org/ipv4pools": '["10.4.0.0/24"]' });
      pod("certain", { "cni.projectcalico.org/ipAddrs": '["10.1.0.77"]' });
      pod("loose", { "cni.projectcalico.org/ipAddrsNoIpam": '["192.0.2.9"]' });
      pod("wrong", { "cni.projectcalico.org/ipv4pools": "d" });
      pod("none", { "cni.projectcalico.org/ipv4pools": '["c"]' });
      store.create({ group: "projectcalico.org", version: "v3", plural: "ipreservations" }, {
        apiVersion: "projectcalico.org/v3",
        kind: "IPReservation",
        metadata: { name: "r" },
        spec: { reservedCIDRs: ["10.2.0.0/27", "10.2.0.34"] },
      } as KubeObject);
      const names = (node: string, namespace: string, name: string) => {
        const { pools } = podWishes(world.source.snapshot, node, { namespace, name });
        return [...pools[4], ...pools[6]].map((pool) => pool.name).join();
      };
      assert.equal(names("node-1", "shop", "x"), "a,e");
      assert.equal(names("node-2", "shop", "x"), "");
      assert.equal(names("node-1", "blue", "x"), "a,b,e");
      assert.equal(names("node-2", "blue", "x"), "b");
      assert.equal(names("node-2", "fixed", "x"), "d");
      assert.equal(names("node-2", "shop", "named"), "d");
      assert.throws(() => names("node-1", "shop", "wrong"), /annotation cni\.projectcalico\.org\/ipv4pools: "d" is no JSON list/);
      assert.throws(() => names("node-1", "shop", "none"), /pool c is disabled/);

      const give = (node: string, namespace: string, name: string) =>
        assignPod(world.ipam(node), owner(`${namespace}.${name}`, node), podWishes(world.source.snapshot, node, { namespace, name }));
      assert.match((await give("node-1", "shop", "x")).join(), /^10\.1\.0\.\d+,fd00::[0-9a-f]+$/);
      await assert.rejects(give("node-2", "shop", "x"), /no pool gives addresses to this pod on this node/);
      assert.deepEqual(await give("node-2", "shop", "certain"), ["10.1.0.77"]);
      await assert.rejects(
        assignPod(world.ipam("node-1"), owner("other"), podWishes(world.source.snapshot, "node-1", { namespace: "shop", name: "certain" })),
        /10\.1\.0\.77 can't be given out: another has it/,
      );
      assert.deepEqual(await give("node-2", "shop", "loose"), ["192.0.2.9"]);
      const [first = ""] = await give("node-2", "blue", "x");
      assert.ok(first.startsWith("10.2.0."), first);
      const all = await Promise.all(Array.from({ length: 222 }, (_, i) => give("node-2", "blue", `y${i}`)));
      const given = new Set([first, ...all.flat()]);
      assert.equal(given.size, 223);
      assert.ok(![...given].some((each) => Number(each.split(".")[3]) < 32 || each === "10.2.0.34"), "reserved ones are not among them");
      await assert.rejects(give("node-2", "blue", "z"), /no address is free in pool b/);
    },
  ),
);

test(
  "dual stack is all or none",
  withWorld(
    { pools: { four: POOL, six: { cidr: "fd00::/127", blockSize: 127 } }, nodes: { "node-1": ["10.244.0.0/24"] } },
    async (world) => {
      const ipam = world.ipam("node-1");
      const wishes = () => podWishes(world.source.snapshot, "node-1", { namespace: "shop", name: "x" });
      await assignPod(ipam, owner("a"), wishes());
      await assignPod(ipam, owner("b"), wishes());
      await assert.rejects(assignPod(ipam, owner("c"), wishes()), /no address is free in pool six/);
      assert.equal(world.given().length, 4);
      assert.deepEqual(
        world.handles().map(({ metadata }) => metadata.name),
        ["a", "b"],
      );
    },
  ),
);

test(
  "a claim that was interrupted at any write is ended by the next start, and nothing is given out twice",
  withWorld(two, async (world) => {
    // The n-th write is the last that gets through; some of them without the caller hearing of it.
    const dying = (writes: number, unheard: boolean): ObjectApi => {
      let left = writes;
      const spend = async <T>(action: () => Promise<T>): Promise<T> => {
        if (left <= 0) throw new Error("killed");
        left--;
        const result = await action();
        if (left === 0 && unheard) throw new Error("killed");
        return result;
      };
      return {
        get: (...args) => world.api.get(...args),
        list: (...args) => world.api.list(...args),
        create: (resource, object) => spend(() => world.api.create(resource, object)),
        update: (resource, object) => spend(() => world.api.update(resource, object)),
        delete: (resource, object) => spend(() => world.api.delete(resource, object)),
      };
    };
    const held = new Map<string, string>();
    for (let writes = 0; writes < 12; writes++)
      for (const unheard of [false, true]) {
        const handle = `h${writes}${unheard}`;
        const node = `node-${1 + (writes % 2)}`;
        const ipam = world.ipam(node, { api: dying(writes, unheard) });
        try {
          held.set(await ipam.assign(owner(handle, node), world.pools()), handle);
          await ipam.release("h0false");
          if (writes % 3 === 0) await ipam.releaseBlock("10.244.0.0/26");
        } catch (error) {
          assert.match(String(error), /killed/);
        }
      }
    for (const node of ["node-1", "node-2"]) await world.ipam(node).load();
    const given = world.given();
    assert.equal(new Set(given.map((each) => each.split(" ")[0])).size, given.length);
    for (const [address, handle] of held) assert.ok(given.includes(`${address} ${handle}`), `${address} is still ${handle}'s`);
    for (const block of world.blocks()) {
      const whose = affinities(world).filter((each) => each.includes(` ${block.spec.cidr} `));
      assert.ok(whose.length <= 1 && whose.every((each) => !each.includes("pending")), `${block.spec.cidr}: ${whose}`);
      assert.ok(
        block.spec.affinity === null || whose[0]?.startsWith(block.spec.affinity.slice(5)),
        `${block.spec.cidr} ${block.spec.affinity}`,
      );
    }
  }),
);

test(
  "many nodes at once take blocks and addresses, one owner each",
  withWorld(
    {
      pools: { main: { cidr: "10.244.0.0/24", blockSize: 28 } },
      nodes: Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`node-${i}`, []])),
    },
    async (world) => {
      // Between a read and a write others may come: every call takes its turn of the event loop.
      const slow = <T>(action: () => Promise<T>): Promise<T> =>
        new Promise((resolve, reject) => setImmediate(() => action().then(resolve, reject)));
      const api: ObjectApi = {
        get: (...args) => slow(() => world.api.get(...args)),
        list: (...args) => slow(() => world.api.list(...args)),
        create: (resource, object) => slow(() => world.api.create(resource, object)),
        update: (resource, object) => slow(() => world.api.update(resource, object)),
        delete: (resource, object) => slow(() => world.api.delete(resource, object)),
      } as ObjectApi;
      const allocators = Array.from({ length: 10 }, (_, i) => world.ipam(`node-${i}`, { api }));
      const taken = await Promise.all(
        Array.from({ length: 256 }, (_, i) => allocators[i % 10]?.assign(owner(`h${i}`, `node-${i % 10}`), world.pools())),
      );
      assert.equal(new Set(taken).size, 256);
      assert.equal(world.given().length, 256);
      await Promise.all(Array.from({ length: 256 }, (_, i) => allocators[i % 10]?.release(`h${i}`, [taken[i] ?? ""])));
      assert.deepEqual(world.given(), []);
      assert.deepEqual(world.handles(), []);
    },
  ),
);

test(
  "a write that carries what is outdated is refused",
  withWorld(two, async (world) => {
    await world.ipam("node-1").assign(owner("a"), world.pools());
    const block = (await world.api.get<IpamBlock>(IPAM_RESOURCES.blocks, "10-244-0-0-26")) ?? assert.fail();
    await world.ipam("node-1").assign(owner("b"), world.pools());
    await assert.rejects(world.api.update(IPAM_RESOURCES.blocks, block), ApiConflict);
    await assert.rejects(world.api.delete(IPAM_RESOURCES.blocks, block), ApiConflict);
    await assert.rejects(world.api.create(IPAM_RESOURCES.blocks, { ...block, metadata: { name: block.metadata.name } }), ApiConflict);
    await world.api.delete(IPAM_RESOURCES.blocks, { metadata: { name: "nothing" } });
  }),
);

test(
  "the collector gives back what nobody holds, after two looks and the grace, and never what somebody holds",
  withWorld({ ...two, pools: { main: { cidr: "10.244.0.0/27", blockSize: 28 } }, nodes: { ...two.nodes, "node-3": [] } }, async (world) => {
    const [first, third] = [world.ipam("node-1"), world.ipam("node-3")];
    const held = new Set(["held"]);
    for (const handle of ["held", "lost"]) await first.assign(owner(handle), world.pools());
    await third.assign(owner("gone", "node-3"), world.pools());
    await first.assign({ handle: "borrowed", secondary: { node: "node-2", namespace: "shop", pod: "there" } }, world.pools());
    await first.assign({ handle: "borrowed-lost", secondary: { node: "node-2", namespace: "shop", pod: "not-there" } }, world.pools());
    world.store.create(
      { group: "", version: "v1", plural: "namespaces" },
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    );
    world.store.create({ group: "", version: "v1", plural: "pods" }, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { namespace: "shop", name: "there" },
      spec: { containers: [] },
    } as KubeObject);
    const collectors = ["node-1", "node-2"].map((node) => {
      const ipam = node === "node-1" ? first : world.ipam(node);
      return new Collector({
        node,
        ipam,
        api: world.api,
        snapshot: () => world.source.snapshot,
        isHeld: (handle) => held.has(handle),
        grace: 60,
        now: () => world.now,
      });
    });
    for (const node of ["node-1", "node-2"]) await world.ipam(node).load();
    const round = async () => (await Promise.all(collectors.map((collector) => collector.round()))).flatMap(({ addresses }) => addresses);
    assert.deepEqual(await round(), []);
    world.now += 30_000;
    assert.deepEqual(await round(), [], "within the grace");
    world.now += 31_000;
    assert.deepEqual((await round()).sort(), ["10.244.0.3", "10.244.0.5"]);
    assert.deepEqual(
      world
        .given()
        .map((each) => each.split(" ")[1])
        .sort(),
      ["borrowed", "gone", "held"],
    );
    world.store.delete(NODES, undefined, "node-3");
    for (let i = 0; i < 3; i++) {
      await round();
      world.now += 61_000;
    }
    assert.deepEqual(
      world
        .given()
        .map((each) => each.split(" ")[1])
        .sort(),
      ["borrowed", "held"],
    );
    assert.deepEqual(affinities(world), ["node-1 10.244.0.0/28 confirmed"], "the block of the node that is gone is free for others");
    assert.equal(world.blocks().length, 1);
  }),
);

test("pools: what is not right is said, and the rest is followed", () => {
  const world = makeIpamWorld({
    nodes: {},
    pools: {
      a: { cidr: "10.0.0.0/16", blockSize: 12, ipipMode: "Sometimes" },
      b: { cidr: "10.0.1.0/24" },
      c: { cidr: "nonsense" },
      d: { cidr: "fd00::/112", ipipMode: "Always", nodeSelector: "has(" },
    },
  });
  const [a, d] = world.pools();
  assert.deepEqual(
    [a?.name, a?.blockSize, a?.encapsulation, d?.name, d?.encapsulation, d?.fits.node({})],
    ["a", 26, "None", "d", "None", false],
  );
  world.close();
  assert.ok(poolObject("x", {}));
});
