// What every Kernel must do with IPVS.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Ipvs, Kernel, NetworkNamespace } from "../kernel.ts";
import type { IpvsService } from "../state.ts";
import { refused, withNode } from "./node.ts";

export function describeIpvs(makeKernel: () => Kernel): void {
  const key = { protocol: "tcp", port: 80 } as const;
  const v4: IpvsService = { ...key, family: 4, address: "10.96.0.80", scheduler: "rr", destinations: [] };
  const v6: IpvsService = { ...key, family: 6, address: "fd00:10:96::80", scheduler: "rr", destinations: [] };
  const to = (address: string, weight = 1) => ({ address, port: 8080, weight });
  const list = ({ ipvs }: NetworkNamespace) =>
    ipvs.list().map(({ destinations, ...service }) => ({
      ...service,
      destinations: destinations.map(({ address, port, weight }) => `${address}:${port} ${weight}`).sort(),
    }));

  for (const scheduler of ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "mh"])
    test(`IPVS: scheduler ${scheduler}, of both families, with a client's persistence`, () =>
      withNode(makeKernel(), (namespace) => {
        for (const service of [
          { ...v4, scheduler },
          { ...v6, scheduler, protocol: "udp" as const, persistence: 10_800 },
        ]) {
          namespace.ipvs.apply({ op: "add", service });
          assert.deepEqual(
            list(namespace).find(({ family }) => family === service.family),
            service,
          );
        }
      }));

  test("IPVS: destinations come, get another weight, and go; a service goes with them", () =>
    withNode(makeKernel(), (namespace) => {
      const { ipvs } = namespace;
      ipvs.apply({ op: "add", service: v4 });
      for (const address of ["10.244.1.2", "10.244.1.3"]) ipvs.apply({ op: "add", service: v4, destination: to(address) });
      ipvs.apply({ op: "set", service: v4, destination: to("10.244.1.2", 0) });
      assert.deepEqual(list(namespace)[0]?.destinations, ["10.244.1.2:8080 0", "10.244.1.3:8080 1"]);
      ipvs.apply({ op: "set", service: { ...v4, scheduler: "wlc", persistence: 60 } });
      assert.deepEqual(list(namespace), [
        { ...v4, scheduler: "wlc", persistence: 60, destinations: ["10.244.1.2:8080 0", "10.244.1.3:8080 1"] },
      ]);
      ipvs.apply({ op: "set", service: v4 });
      assert.equal(list(namespace)[0]?.persistence, undefined);
      ipvs.apply({ op: "delete", service: v4, destination: to("10.244.1.2") });
      assert.deepEqual(list(namespace)[0]?.destinations, ["10.244.1.3:8080 1"]);
      ipvs.apply({ op: "delete", service: v4 });
      assert.deepEqual(list(namespace), []);
    }));

  test("IPVS: one service is read as it stands in the list, and one that is not there is none", () =>
    withNode(makeKernel(), ({ ipvs }) => {
      const sticky: IpvsService = { ...v6, protocol: "udp", scheduler: "sh", persistence: 10_800 };
      assert.equal(ipvs.read(v4), undefined);
      for (const service of [v4, sticky, { ...v4, port: 81 }]) ipvs.apply({ op: "add", service });
      for (const address of ["10.244.1.2", "10.244.1.3"]) ipvs.apply({ op: "add", service: v4, destination: to(address) });
      ipvs.apply({ op: "add", service: sticky, destination: to("fd00:10:244::2", 0) });
      for (const service of ipvs.list()) assert.deepEqual(ipvs.read(service), service);
      assert.equal(ipvs.read(v4)?.destinations.length, 2);
      assert.deepEqual(ipvs.read(sticky), {
        ...sticky,
        destinations: [{ ...to("fd00:10:244::2", 0), active: 0, inactive: 0 }],
      });
      ipvs.apply({ op: "delete", service: v4 });
      assert.equal(ipvs.read(v4), undefined);
      assert.equal(ipvs.read({ ...sticky, protocol: "tcp" }), undefined);
    }));

  test("IPVS: a list is whole, where another namespace has as many", () =>
    withNode(makeKernel(), ({ ipvs }, others) => {
      const many = Array.from({ length: 60 }, (_, index): IpvsService => ({ ...v4, port: 1000 + index }));
      const hosts = [2, 3, 4, 5].map((host) => `10.244.1.${host}`);
      for (const service of many)
        for (const balancer of [ipvs, others.ipvs]) {
          balancer.apply({ op: "add", service });
          for (const host of hosts) balancer.apply({ op: "add", service, destination: to(host) });
        }
      const told = (balancer: Ipvs) => balancer.list().map(({ port, destinations }) => `${port} ${destinations.length}`);
      for (const balancer of [ipvs, others.ipvs])
        assert.deepEqual(
          told(balancer).sort(),
          many.map(({ port }) => `${port} ${hosts.length}`),
        );
    }));

  test("IPVS: what is there twice, or not there, is refused", () =>
    withNode(makeKernel(), ({ ipvs }) => {
      refused(() => ipvs.apply({ op: "delete", service: v4 }), "ESRCH");
      refused(() => ipvs.apply({ op: "add", service: v4, destination: to("10.244.1.2") }), "ESRCH");
      ipvs.apply({ op: "add", service: v4 });
      refused(() => ipvs.apply({ op: "add", service: v4 }), "EEXIST");
      refused(() => ipvs.apply({ op: "add", service: { ...v4, port: 81, scheduler: "nosuch" } }), "ENOENT");
      refused(() => ipvs.apply({ op: "delete", service: v4, destination: to("10.244.1.2") }), "ENOENT");
      ipvs.apply({ op: "add", service: v4, destination: to("10.244.1.2") });
      refused(() => ipvs.apply({ op: "add", service: v4, destination: to("10.244.1.2") }), "EEXIST");
    }));
}
