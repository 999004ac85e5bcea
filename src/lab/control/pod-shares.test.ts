import assert from "node:assert/strict";
import { test } from "node:test";
import type { Node } from "../../resources/index.ts";
import { missingShares } from "./pod-shares.ts";

const node = (name: string, ...podCIDRs: string[]): Node =>
  ({ apiVersion: "v1", kind: "Node", metadata: { name }, spec: podCIDRs.length > 0 ? { podCIDRs } : {} }) as Node;
const networks = { podCidrs: ["10.244.0.0/22", "fd00::/62"], nodeMask: { 4: 24, 6: 64 } };

test("nodes without a podCIDR get the first shares that overlap with nobody's, of each family", () => {
  const all = [node("theirs", "10.244.0.0/23"), node("a"), node("b", "10.244.2.0/24"), node("c")];
  const shares = missingShares(["a", "b", "c"], all, networks);
  assert.deepEqual(
    [...shares],
    [
      ["a", ["10.244.3.0/24", "fd00::/64"]],
      // The first range is used up.
      ["c", ["fd00:0:0:1::/64"]],
    ],
  );
});
