// Snapshots made step by step are those made at once, and know what changed between them.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { slice } from "../../test/service-objects.ts";
import type { EndpointSlice } from "../resources/index.ts";
import { createSnapshotBuilder, snapshotOf } from "./build.ts";
import type { ClusterSnapshot } from "./snapshot.ts";

const NAMESPACES = ["a", "b"];
const SERVICES = ["x", "x-y", "y"];

const step = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  service: fc.constantFrom(...SERVICES),
  name: fc.integer({ min: 0, max: 6 }),
  gone: fc.boolean(),
  port: fc.integer({ min: 1, max: 9 }),
  /** A snapshot is taken after this change. */
  taken: fc.boolean(),
});

const contents = ({ endpointSlices }: ClusterSnapshot) => ({
  all: [...endpointSlices.values()],
  ofEach: NAMESPACES.map((namespace) => SERVICES.map((service) => [...endpointSlices.ofService(namespace, service)])),
  got: NAMESPACES.flatMap((namespace) => Array.from({ length: 7 }, (_, name) => endpointSlices.get(`${namespace}/s${name}`))),
});

test("any sequence of changes gives the snapshot that its objects give", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const builder = createSnapshotBuilder();
      const objects = new Map<string, EndpointSlice>();
      let last = builder.snapshot();
      for (const { namespace, service, name, gone, port, taken } of steps) {
        const made = slice(service, { endpoints: [], port, namespace });
        const object = { ...made, metadata: { ...made.metadata, name: `s${name}` } };
        if (gone) objects.delete(`${namespace}/s${name}`);
        else objects.set(`${namespace}/s${name}`, object);
        builder.apply([{ type: gone ? "DELETED" : "MODIFIED", object }]);
        if (!taken) continue;
        const next = builder.snapshot();
        assert.deepEqual(contents(next), contents(snapshotOf(objects.values())));
        // What changed, applied to what was, gives what is.
        const moved = new Map([...last.endpointSlices.values()].map((each) => [`${each.metadata.namespace}/${each.metadata.name}`, each]));
        for (const { before, after } of next.endpointSlices.changedSince(last.endpointSlices) ?? assert.fail("not known")) {
          const { metadata } = (after ?? before) as EndpointSlice;
          const key = `${metadata.namespace}/${metadata.name}`;
          assert.equal(moved.get(key), before);
          if (after) moved.set(key, after);
          else moved.delete(key);
        }
        assert.deepEqual(new Map([...moved].sort()), new Map([...objects].sort()));
        last = next;
      }
    }),
    { numRuns: 150 },
  );
});

test("changes are followed over several versions, and not for ever", () => {
  const builder = createSnapshotBuilder();
  const versions = Array.from({ length: 30 }, (_, port) => {
    builder.apply([{ type: "MODIFIED", object: slice("x", { endpoints: [], port: port + 1 }) }]);
    return builder.snapshot();
  });
  const [newest] = versions.slice(-1);
  const since = (back: number) => newest?.endpointSlices.changedSince(versions[29 - back]?.endpointSlices as never)?.length;
  assert.deepEqual([since(0), since(1), since(5), since(29)], [0, 1, 5, undefined]);
});
