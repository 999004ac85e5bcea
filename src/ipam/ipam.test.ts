// Addresses given out: every one once, all families or none, the freshest freed last; over random lives of a node.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createIpam, RangeFullError } from "./index.ts";

const addressesOf = (allocations: readonly { readonly address: string }[]) => allocations.map((each) => each.address);

test("the first address of each range, its gateway, and what a range holds", () => {
  const ipam = createIpam(["10.244.1.0/24", "fd00:10:244:1::/64"], []);
  assert.deepEqual(ipam.allocate(), [
    { address: "10.244.1.2/24", gateway: "10.244.1.1" },
    { address: "fd00:10:244:1::2/64", gateway: "fd00:10:244:1::1" },
  ]);
  const sizes: readonly [string, number][] = [
    ["10.0.0.0/24", 253],
    ["10.0.0.0/29", 5],
    ["10.0.0.0/30", 1],
    ["10.0.0.0/31", 0],
    ["10.0.0.0/32", 0],
    ["10.0.0.0/8", 16_777_213],
    ["fd00::/126", 2],
    ["fd00::/128", 0],
    ["fd00::/64", 1_048_574],
  ];
  for (const [range, size] of sizes) assert.equal(createIpam([range], []).usage()[0]?.size, size, range);
});

test("a full range says so; the other family's address is given back", () => {
  const ipam = createIpam(["10.0.0.0/24", "fd00::/126"], []);
  ipam.allocate();
  ipam.allocate();
  assert.throws(
    () => ipam.allocate(),
    (error) => {
      assert.ok(error instanceof RangeFullError);
      assert.equal(error.code, "range-full");
      assert.match(
        error.message,
        /^no address is free in fd00::\/126: 2 are in use \(take pods away, or give the cluster a wider pod range/,
      );
      return true;
    },
  );
  assert.deepEqual(
    ipam.usage().map((range) => range.used),
    [2, 2],
  );
  ipam.release(["fd00::3/126"]);
  assert.deepEqual(addressesOf(ipam.allocate()), ["10.0.0.5/24", "fd00::3/126"], "10.0.0.4 rests: it was taken for a moment");
  assert.throws(() => createIpam(["10.0.0.0/31"], []).allocate(), RangeFullError);
});

test("a freed address is the last to be given out again", () => {
  const ipam = createIpam(["10.0.0.0/29"], []);
  const take = () => ipam.allocate()[0]?.address ?? "";
  const all = Array.from({ length: 5 }, take);
  for (const address of ["10.0.0.5/29", "10.0.0.3/29", "10.0.0.4/29"]) ipam.release([address]);
  assert.deepEqual(Array.from({ length: 3 }, take), ["10.0.0.5/29", "10.0.0.3/29", "10.0.0.4/29"]);
  for (const address of all) ipam.release([address]);
  ipam.release(["10.0.0.2/29"]);
  assert.deepEqual(Array.from({ length: 5 }, take), all, "in order of release, and a second release changes nothing");
});

test("after a restart it goes on behind the newest record", () => {
  const ipam = createIpam(["10.0.0.0/29"], ["10.0.0.5/29", "10.0.0.2/29", "10.0.0.4/29"]);
  assert.deepEqual(addressesOf([...ipam.allocate(), ...ipam.allocate()]), ["10.0.0.6/29", "10.0.0.3/29"]);
  assert.deepEqual(createIpam(["10.0.0.0/29"], ["10.9.0.2/24", "10.0.0.2/29", "fd00::2/64", "10.0.0.7/29"]).outside, [
    "10.9.0.2/24",
    "fd00::2/64",
    "10.0.0.7/29",
  ]);
});

type Step = { readonly do: "allocate" | "restart" } | { readonly do: "release"; readonly which: number };

test("never two owners of one address, and no leak, whatever the sequence of ADD, DEL and restarts", () => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.constant({ do: "allocate" as const }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("release" as const), which: fc.nat(40) }) },
    { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
  );
  const ranges = fc.constantFrom(["10.0.0.0/28"], ["10.0.0.0/27", "fd00::/125"], ["fd00::/124"]);
  fc.assert(
    fc.property(ranges, fc.array(step, { maxLength: 120 }), (cidrs, steps) => {
      let ipam = createIpam(cidrs, []);
      let pods: string[][] = [];
      const smallest = Math.min(...ipam.usage().map((range) => range.size));
      for (const each of steps) {
        if (each.do === "restart") ipam = createIpam(cidrs, pods.flat());
        else if (each.do === "release") {
          const pod = pods[each.which % Math.max(1, pods.length)];
          if (pod) ipam.release(pod);
          pods = pods.filter((other) => other !== pod);
        } else if (pods.length === smallest) assert.throws(() => ipam.allocate(), RangeFullError);
        else pods.push(addressesOf(ipam.allocate()));
        const held = pods.flat();
        assert.equal(new Set(held).size, held.length, "one owner each");
        for (const range of ipam.usage()) assert.equal(range.used, pods.length, "used is what is held");
      }
      assert.deepEqual(ipam.outside, []);
    }),
    { numRuns: 300 },
  );
});
