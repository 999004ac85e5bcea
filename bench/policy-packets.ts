// What packets pay for policies: one policy against many that select the same pod, between real namespaces, in turns.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { textTable } from "../src/base/index.ts";
import { snapshotOf } from "../src/cluster/index.ts";
import { createLinuxKernel, type NetworkNamespace, printTable } from "../src/kernel/index.ts";
import { composeTable } from "../src/plan/index.ts";
import { planPolicy } from "../src/policy/index.ts";
import type { KubeObject } from "../src/resources/index.ts";

const CLIENT = "10.244.0.2";
const SERVER = "10.244.1.2";
const PORT = 8080;

/** The client is let in by the last policy only. Each policy has peers of its own; `spread`: and a port of its own. */
function tableOf(policies: number, spread: boolean): string {
  const object = (kind: string, name: string, rest: object, apiVersion = "v1"): KubeObject =>
    ({ apiVersion, kind, metadata: { name, namespace: "shop" }, ...rest }) as KubeObject;
  const pod = (name: string, ip: string, app: string, node: string) => ({
    ...object("Pod", name, { spec: { nodeName: node, containers: [] }, status: { phase: "Running", podIPs: [{ ip }] } }),
    metadata: { name, namespace: "shop", labels: { app } },
  });
  const policy = (index: number) => {
    const last = index === policies - 1;
    const from = [
      { podSelector: { matchLabels: { app: last ? "client" : `app-${index}` } } },
      { ipBlock: { cidr: `172.${16 + (index >> 8)}.${index & 255}.0/24` } },
    ];
    const ports = [{ protocol: "TCP", port: last || !spread ? PORT : 10_000 + index }];
    return object(
      "NetworkPolicy",
      `policy-${String(index).padStart(4, "0")}`,
      { spec: { podSelector: { matchLabels: { app: "server" } }, ingress: [{ from, ports }] } },
      "networking.k8s.io/v1",
    );
  };
  const others = Array.from(
    { length: policies },
    (_, index) => pod(`pod-${index}`, `10.244.${2 + (index >> 7)}.${1 + (index & 127)}`, `app-${index}`, "node-2") as KubeObject,
  );
  const objects = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } },
    pod("client", CLIENT, "client", "node-2"),
    pod("server", SERVER, "server", "node-1"),
    ...others,
    ...Array.from({ length: policies }, (_, index) => policy(index)),
  ] as KubeObject[];
  return printTable(composeTable([planPolicy(snapshotOf(objects), "node-1", []).table]));
}

interface Wire {
  readonly client: NetworkNamespace;
  readonly router: NetworkNamespace;
  readonly server: NetworkNamespace;
}

function makeWire(): Wire {
  const kernel = createLinuxKernel();
  const [client, router, server] = [kernel.createNamespace(), kernel.createNamespace(), kernel.createNamespace()];
  for (const [end, name, address, gateway] of [
    [client, "c", CLIENT, "10.244.0.1"],
    [server, "s", SERVER, "10.244.1.1"],
  ] as const) {
    router.addVethPair({ name, up: true }, { name: "eth0", namespace: end, up: true });
    router.apply({ op: "add", address: { link: name, address: `${gateway}/24` } });
    end.apply({ op: "add", address: { link: "eth0", address: `${address}/24` } });
    end.apply({
      op: "add",
      route: { family: 4, destination: "0.0.0.0/0", type: "unicast", nexthops: [{ via: gateway }], table: 254, protocol: 4 },
    });
  }
  router.writeSysctl("net.ipv4.ip_forward", "1");
  return { client, router, server };
}

const KINDS = { stream: "400", talk: "4000", connect: "1500" } as const;
type Kind = keyof typeof KINDS;

/** Prints the table. `rounds`: of each kind and table, in turns, so that what else the machine does meets all alike. */
export async function measurePackets(rounds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  const program = join(directory, "flow");
  execFileSync("cc", ["-O2", "-pthread", "-o", program, fileURLToPath(new URL("flow.c", import.meta.url))]);
  const wire = makeWire();
  const server = wire.server.run(() => spawn(program, ["serve", String(PORT)], { stdio: ["ignore", "pipe", "inherit"] }));
  try {
    await once(server.stdout, "data");
    const tables = {
      "no table": "",
      "1 policy": tableOf(1, true),
      "1,000, one port": tableOf(1000, false),
      "1,000, a port each": tableOf(1000, true),
    };
    const results = new Map<string, number[]>();
    for (let round = 0; round < rounds; round++)
      for (const [name, table] of Object.entries(tables)) {
        wire.router.nft.run(`add table inet fairlead\ndelete table inet fairlead\n${table}`);
        const measure = (kind: Kind, amount: string) =>
          wire.client.run(() => execFileSync(program, [kind, SERVER, String(PORT), amount], { encoding: "utf8" }));
        // The kernel frees what the table before held for a while yet; not at the cost of the next.
        measure("stream", "500");
        for (const kind of Object.keys(KINDS) as Kind[]) {
          const out = measure(kind, KINDS[kind]);
          const list = results.get(`${name} ${kind}`) ?? [];
          results.set(`${name} ${kind}`, [...list, Number(out)]);
        }
      }
    const median = (key: string) => (results.get(key) ?? []).toSorted((a, b) => a - b)[rounds >> 1] ?? 0;
    const rows = Object.keys(tables).map((name) => [
      name,
      ...(Object.keys(KINDS) as Kind[]).flatMap((kind) => [
        median(`${name} ${kind}`).toFixed(kind === "stream" ? 0 : 1),
        `${((median(`${name} ${kind}`) / median(`1 policy ${kind}`) - 1) * 100).toFixed(1)} %`,
      ]),
    ]);
    console.log(textTable(["policies on the pod", "Mbit/s", "", "answer µs", "", "connect µs", ""], rows));
  } finally {
    server.kill();
    for (const namespace of [wire.client, wire.router, wire.server]) namespace.close();
    rmSync(directory, { recursive: true });
  }
}
