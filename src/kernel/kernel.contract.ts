// What every Kernel must do, the real one and the fake: an operation, and the state or the errno that follows.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { until } from "../../test/patience.ts";
import { describeIpvs } from "./contract/ipvs.ts";
import { describeNetfilter } from "./contract/netfilter.ts";
import { refused, withNode } from "./contract/node.ts";
import { addLocal, address, bridge, linkNames, ROWS, type Row, route, VXLAN } from "./contract/rows.ts";
import { isErrno } from "./errors.ts";
import type { Kernel, NetworkNamespace } from "./kernel.ts";
import { localRoute } from "./route-diff.ts";

/** Declares the suite. `nft: false` leaves nftables out where the kernel at hand has none; `lacks`: why a row of other releases can't be asked of it. */
export function describeKernelContract(
  name: string,
  makeKernel: () => Kernel,
  options: { readonly nft?: boolean; readonly lacks?: (since: string, before?: string) => string | false } = {},
): void {
  describe(`kernel contract: ${name}`, () => {
    const lackOf = ({ since = "0", before, needsFastPath }: Row): string | false =>
      options.lacks?.(since, before) || (needsFastPath && makeKernel().hostNamespace().fastPath.lack()) || false;
    for (const row of ROWS) test(row.says, { skip: lackOf(row) }, () => withNode(makeKernel(), (namespace) => check(namespace, row)));

    test("a veth pair spans namespaces, and goes with either end", () =>
      withNode(makeKernel(), (namespace, fabric) => {
        assert.equal(fabric.listLinks().find((link) => link.name === "n1")?.kind.type, "veth");
        fabric.apply({ op: "delete", link: { name: "n1" } });
        assert.deepEqual(linkNames(namespace.observe()), ["lo"]);
        assert.deepEqual(namespace.listRoutes({ family: 4 }), []);
      }));

    for (const watched of [true, false])
      test(`a link that is removed has gone when that is told, ${watched ? "watched" : "not watched"}`, () =>
        withNode(makeKernel(), async (namespace, fabric) => {
          const stop = watched ? namespace.watch(["link"], () => {}) : () => {};
          for (const name of ["b1", "b2", "b3", "b4"]) namespace.apply(bridge(name));
          const all = ["b1", "b2", "b3", "b4"].map((name) => namespace.removeLink(name));
          await Promise.all([...all, fabric.removeLink("n1")]);
          assert.deepEqual([linkNames(namespace.observe()), linkNames(fabric.observe()).includes("n1")], [["lo"], false]);
          await assert.rejects(namespace.removeLink("b1"), (error) => isErrno(error, "ENODEV"));
          stop();
        }));

    test("a moved link leaves its addresses behind and is down", () =>
      withNode(makeKernel(), (namespace, fabric) => {
        namespace.moveLink("eth0", fabric, "uplink");
        const moved = fabric.listLinks().find((link) => link.name === "uplink");
        assert.deepEqual([moved?.kind.type, moved?.up], ["veth", false]);
        assert.deepEqual(
          fabric.listAddresses().filter((a) => a.link === "uplink"),
          [],
        );
        refused(() => namespace.moveLink("eth0", fabric), "ENODEV");
      }));

    test("sysctls: unknown keys, wrong values, forwarding for all", () =>
      withNode(makeKernel(), (namespace) => {
        assert.equal(namespace.readSysctl("net.ipv4.no_such_key"), undefined);
        refused(() => namespace.writeSysctl("net.ipv4.no_such_key", "1"), "ENOENT");
        refused(() => namespace.writeSysctl("net.ipv4.ip_forward", "yes"), "EINVAL");
        namespace.writeSysctl("net.ipv4.ip_forward", "1");
        assert.equal(namespace.readSysctl("net.ipv4.conf.eth0.forwarding"), "1");
        namespace.apply({ op: "add", link: { name: "flannel.1", kind: VXLAN } });
        assert.equal(namespace.readSysctl("net.ipv4.conf.flannel/1.forwarding"), "1");
      }));

    test("handles of one namespace see the same and know each other by inode", () =>
      withNode(makeKernel(), (namespace, _fabric, kernel) => {
        const again = kernel.openNamespace(namespace.path);
        assert.equal(again.inode, namespace.inode);
        again.apply(bridge());
        assert.ok(linkNames(namespace.observe()).includes("cni0"));
        again.close();
        again.close();
        refused(() => kernel.openNamespace("/nowhere/at/all"), "ENOENT");
      }));

    test("a watcher hears of others' changes and not of its own", () =>
      withNode(makeKernel(), async (namespace, _fabric, kernel) => {
        const heard: string[] = [];
        // Of routes only: what the kernel does to links by itself, a moment later, is nobody's own.
        const stop = namespace.watch(["route"], (topic) => heard.push(topic));
        namespace.apply({ op: "add", route: route("10.9.0.0/24", undefined) });
        await new Promise((resolve) => setTimeout(resolve, 100));
        assert.deepEqual(heard, []);
        const other = kernel.openNamespace(namespace.path);
        other.apply({ op: "add", route: route("10.9.1.0/24", undefined) });
        await until(() => heard.length > 0);
        assert.deepEqual([...new Set(heard)], ["route"]);
        stop();
        other.close();
      }));

    test("local routes have a topic of their own, and what the kernel does for addresses is none of it", () =>
      withNode(makeKernel(), async (namespace, _fabric, kernel) => {
        const heard: string[] = [];
        const stop = namespace.watch(["route", "local"], (topic) => heard.push(topic));
        const other = kernel.openNamespace(namespace.path);
        other.apply(address("add", "10.96.0.10/32", "eth0"));
        namespace.apply(addLocal("10.96.0.10", "eth0"));
        await new Promise((resolve) => setTimeout(resolve, 100));
        assert.ok(!heard.includes("local"));
        other.apply({ op: "delete", route: localRoute("eth0", "10.96.0.10") });
        await until(() => heard.includes("local"));
        stop();
        other.close();
      }));

    if (options.nft === false) return;
    describeNetfilter(makeKernel);
    // The second kernel has it: npm run test:vm.
    if (makeKernel().hostNamespace().ipvs.lack() === undefined) describeIpvs(makeKernel);
  });
}

function check(namespace: NetworkNamespace, row: Row): void {
  for (const change of row.given ?? []) namespace.apply(change);
  const expected = row.refused;
  if (expected !== undefined) {
    refused(() => namespace.apply(row.change), expected);
    return;
  }
  namespace.apply(row.change);
  assert.deepEqual(row.look?.(namespace.observe()), row.is);
}
