// keepSame: what is equal becomes the same object, what differs stays as it is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { deriveList, EMPTY_STATE, type IpvsService, type KernelState, listChanges, type NftTable } from "../kernel/index.ts";
import { keepSame, type NodePlan } from "./index.ts";

const chain = (name: string, verdict: "accept" | "drop" = "accept") => ({ name, rules: [{ matches: [], statements: [{ verdict }] }] });
const element = (address: string) => ({ key: [address] });
const table = (chains: NftTable["chains"], ...addresses: string[]): NftTable => ({
  family: "inet",
  name: "fairlead",
  chains,
  sets: [{ name: "pods", key: ["ipv4_addr"], elements: addresses.map(element) }],
});
const plan = (kernel: Partial<KernelState>, pods: Readonly<Record<string, KernelState>> = {}): NodePlan => ({
  node: "node-1",
  revision: 1,
  kernel: { ...EMPTY_STATE, ...kernel },
  pods: new Map(Object.entries(pods)),
  annotations: {},
  podMtu: 1450,
  announcement: { own: [], winners: new Map() },
  settings: { services: "nftables", network: "overlay", fastPath: "on", remarks: [] },
  namePatterns: [],
  remarks: [],
});

test("a plan that is equal by value has the old one's kernel and pods", () => {
  const make = () =>
    plan({ tables: [table([chain("a")], "10.0.0.1")], sysctls: { x: "1" } }, { c1: { ...EMPTY_STATE, sysctls: { y: "2" } } });
  const before = make();
  const kept = keepSame(before, { ...make(), revision: 2 });
  assert.equal(kept.kernel, before.kernel);
  assert.equal(kept.pods.get("c1"), before.pods.get("c1"));
  assert.equal(kept.revision, 2);
});

test("a chain and an element put in between leave those behind them the same objects", () => {
  const before = plan({ tables: [table([chain("a"), chain("c")], "10.0.0.1", "10.0.0.3")] });
  const after = plan({ tables: [table([chain("a"), chain("b"), chain("c")], "10.0.0.1", "10.0.0.2", "10.0.0.3")] });
  const kept = keepSame(before, structuredClone(after));
  assert.deepEqual(kept.kernel, after.kernel);
  const [was, is] = [before.kernel.tables[0], kept.kernel.tables[0]];
  assert.equal(is?.chains[2], was?.chains[1]);
  assert.equal(is?.sets[0]?.elements[2], was?.sets[0]?.elements[1]);
});

test("what differs is never taken from the old plan", () => {
  const before = plan({ tables: [table([chain("a"), chain("b")])], sysctls: { x: "1", y: "2" } });
  for (const change of [
    { tables: [table([chain("a", "drop"), chain("b")])], sysctls: { x: "1", y: "2" } },
    { tables: [table([chain("a")])], sysctls: { x: "1", y: "2" } },
    { tables: [table([chain("b"), chain("a")])], sysctls: { x: "1", y: "2" } },
    { tables: [table([chain("a"), chain("b")])], sysctls: { x: "1" } },
    { tables: [table([chain("a"), chain("b")])], sysctls: { x: "1", y: "3" } },
    { tables: [], sysctls: {} },
  ])
    assert.deepEqual(keepSame(before, plan(structuredClone(change))).kernel, plan(change).kernel);
});

test("of a long list, what comes and goes in the midst leaves the others the same objects, and no copies", () => {
  const address = (number: number) => ({ link: "dummy0", address: `10.96.0.${number}/32`, nodad: true });
  const list = Array.from({ length: 9 }, (_, index) => address(index));
  // The first and the last are made anew by every plan.
  const kernel = (addresses: typeof list) =>
    plan({ addresses: [{ link: "cni0", address: "10.244.1.1/24" }, ...addresses, { link: "ens160", address: "10.112.0.9/32" }] });
  const before = kernel(list);
  for (const [is, fresh] of [
    [list.toSpliced(4, 0, address(99)), [5]],
    [list.toSpliced(4, 1), []],
    [list.with(4, address(99)), [5]],
  ] as const) {
    const kept = keepSame(before, kernel(is)).kernel;
    assert.deepEqual(kept, kernel(is).kernel);
    assert.deepEqual(
      kept.addresses.flatMap((each, index) => (before.kernel.addresses.includes(each) ? [] : [index])),
      fresh,
    );
  }
  assert.equal(keepSame(before, kernel([...list])).kernel, before.kernel);
});

test("a list that its maker follows stays the very list, with the very objects, so that the next one is known by what it changed", () => {
  const served = (port: number): IpvsService => ({
    family: 4,
    protocol: "tcp",
    address: "10.96.0.1",
    port,
    scheduler: "rr",
    destinations: [{ address: "10.244.1.2", port: 8080, weight: 1 }],
  });
  const [one, two, three] = [served(80), served(81), served(82)];
  const first = deriveList([], [one, three], { gone: [], come: [one, three] });
  const second = deriveList(first, [one, two, three], { gone: [], come: [two] });
  const before = keepSame(plan({ ipvs: [served(79)] }), plan({ ipvs: first }));
  assert.equal(before.kernel.ipvs, first);
  assert.equal(before.kernel.ipvs[0], one);
  const after = keepSame(before, plan({ ipvs: second }));
  assert.deepEqual(listChanges(before.kernel.ipvs, after.kernel.ipvs), listChanges(first, second));
  assert.equal(keepSame(after, plan({ ipvs: deriveList([], [one, two, three], { gone: [], come: [] }) })).kernel, after.kernel);
});
