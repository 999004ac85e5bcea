// One measurement of bench/services.ts, in a process of its own: so many Services by one mode. Prints a line of JSON.
//
//   client ── node (Services) ── pod (listens)        all in namespaces of this process
import { createServer } from "node:net";
import koffi from "koffi";
import { createSnapshotBuilder } from "../src/cluster/index.ts";
import { createLinuxKernel, createReconciler, type NetworkNamespace, ROUTE_PROTOCOL } from "../src/kernel/index.ts";
import { keepSame, type NodeFacts, planNode, type ServiceMode, TABLE } from "../src/plan/index.ts";
import { SERVICE_BALANCER, SERVICE_CHAINS } from "../src/services/index.ts";
import { node, service, slice } from "../test/service-objects.ts";

const [mode = "nftables", count = "1000"] = process.argv.slice(2);
const SERVICES = Number(count);
/** With these few, every mode is as fast as it gets: what is measured is compared with that, in the same process. */
const BASE = 10;
const CONNECTS = 2000;
/** One more by iptables takes a tenth of a second. */
const MORE = mode === "iptables" ? 60 : 300;

const kernel = createLinuxKernel();
const [client, host, pod] = [kernel.createNamespace(), kernel.createNamespace(), kernel.createNamespace()];
for (const each of [client, host, pod]) each.apply({ op: "set", link: { name: "lo", up: true } });
wire(client, "10.112.0.1/24", "ens160", "10.112.0.51/24");
wire(pod, "192.168.7.2/24", "pod0", "192.168.7.1/24");
client.apply(way("10.112.0.51", "eth0"));
pod.apply(way("192.168.7.1", "eth0"));

function wire(far: NetworkNamespace, farAddress: string, link: string, nearAddress: string): void {
  host.addVethPair({ name: link, up: true }, { name: "eth0", namespace: far, up: true });
  far.apply({ op: "add", address: { link: "eth0", address: farAddress } });
  host.apply({ op: "add", address: { link, address: nearAddress } });
}

function way(via: string, link: string, destination = "0.0.0.0/0") {
  const route = { family: 4, destination, type: "unicast", table: 254, protocol: ROUTE_PROTOCOL.static } as const;
  return { op: "add", route: { ...route, nexthops: [{ via, link }] } } as const;
}

// Beside the Services, as many addresses that are the listener's own: to go to many addresses costs something by itself.
const PLAIN = { network: "10.200.0.0/16", prefix: "10.200", port: 8080 };
host.apply(way("192.168.7.2", "pod0", PLAIN.network));
const { op, route } = way("", "lo", PLAIN.network);
pod.apply({ op, route: { ...route, type: "local", scope: "host", table: 255, nexthops: [{ link: "lo" }] } });
// The listener has two addresses: every Service has two end points.
pod.apply({ op: "add", address: { link: "eth0", address: "192.168.7.3/24" } });
let taken = 0;
let made = 0;
const server = createServer((socket) => {
  taken++;
  socket.destroy();
});
server.listen({ fd: pod.bindSocket({ protocol: "tcp", address: "0.0.0.0", port: 8080, backlog: 1024 }) });

interface Targets {
  /** The first two bytes of an index's address. */
  readonly prefix: (index: number) => string;
  readonly port: number;
}

const SERVED: Targets = { prefix: (index) => `10.${96 + (index >> 16)}`, port: 80 };
const lastBytes = (index: number) => `${(index >> 8) & 255}.${index & 255}`;
const addressOf = (index: number) => `${SERVED.prefix(index)}.${lastBytes(index)}`;
const nameOf = (index: number) => `s${String(index).padStart(6, "0")}`;
const objectsOf = (index: number) => {
  const endpoints = ["192.168.7.2", "192.168.7.3"].map((address) => ({ address, node: "node-1" }));
  return [
    { type: "ADDED", object: service(nameOf(index), { clusterIP: addressOf(index), ports: [{ port: 80 }] }) },
    { type: "ADDED", object: slice(nameOf(index), { endpoints, port: 8080 }) },
  ] as const;
};

const facts: NodeFacts = {
  node: "node-1",
  underlay: { link: "ens160", mtu: 1500, addresses: ["10.112.0.51/24"] },
  attachments: [],
  vtepMac: "02:00:00:00:00:01",
  options: { services: mode as ServiceMode },
};
const builder = createSnapshotBuilder();
builder.apply([{ type: "ADDED", object: node("node-1", ["10.244.1.0/24"], ["10.112.0.51"]) }]);
const SERVICES_OWN = { tables: [TABLE], iptables: SERVICE_CHAINS, ipvs: SERVICE_BALANCER };
const reconciler = createReconciler({
  namespace: host,
  owns: {
    links: (link) => link === "cni0" || link.startsWith("flannel."),
    routeProtocol: ROUTE_PROTOCOL.fairlead,
    ...SERVICES_OWN,
  },
  watch: false,
});
let plan: ReturnType<typeof planNode> | undefined;

/** Milliseconds from the objects to the kernel. */
function sync(): number {
  const started = performance.now();
  plan = keepSame(plan, planNode(builder.snapshot(), facts));
  const status = reconciler.set(plan.kernel);
  if (!status.inSync || !plan.settings.services.startsWith(mode)) throw new Error(status.lastError ?? plan.settings.remarks.join("; "));
  return performance.now() - started;
}

const libc = koffi.load(null);
const openSocket = libc.func("int socket(int domain, int type, int protocol)");
const connect = libc.func("int connect(int fd, const void *address, uint32_t length)");
const setOption = libc.func("int setsockopt(int fd, int level, int name, const void *value, uint32_t length)");
const shut = libc.func("int close(int fd)");
/** Closed by RST: nothing stays behind. */
const AT_ONCE = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);

const median = (times: number[]) => (times.sort((a, b) => a - b)[times.length >> 1] ?? 0) * 1000;

/** Median microseconds that connect(2) takes, over Services from first to last. */
async function connectTime(services: number): Promise<number> {
  return median(await connects(services, CONNECTS, SERVED));
}

const TURNS = 40;

interface Connected {
  readonly all: number;
  readonly few: number;
}

/** The same over all Services and over the first few of them, and over as many plain addresses, in turns: what the machine does meanwhile, it does to all. */
async function connectInTurns(): Promise<{ readonly served: Connected; readonly plain: Connected }> {
  const targets = [SERVED, { prefix: () => PLAIN.prefix, port: PLAIN.port }];
  const times = targets.map((target) => ({ target, all: [] as number[], few: [] as number[] }));
  for (let turn = 0; turn < TURNS; turn++)
    for (const { target, all, few } of times) {
      all.push(...(await connects(Math.max(1, SERVICES), CONNECTS / 10, target)));
      few.push(...(await connects(BASE, CONNECTS / 10, target)));
    }
  const [served, plain] = times.map(({ all, few }) => ({ all: median(all), few: median(few) })) as [Connected, Connected];
  return { served, plain };
}

/** How many connections were made: each goes to another Service than the last. */
let turned = 0;

/** Milliseconds of each of so many connections. */
async function connects(services: number, count: number, { prefix, port }: Targets): Promise<number[]> {
  const times: number[] = [];
  for (let at = 0; at < count; at++) {
    const target = Buffer.alloc(16);
    target.writeUInt16LE(2, 0);
    target.writeUInt16BE(port, 2);
    const place = (turned * 7919) % services;
    const address = `${prefix(place)}.${lastBytes(place)}`;
    for (const [index, part] of address.split(".").entries()) target.writeUInt8(Number(part), 4 + index);
    const fd = client.run(() => openSocket(2, 1, 0) as number);
    const started = performance.now();
    if (connect(fd, target, 16) !== 0) throw new Error(`${address} can't be reached`);
    turned++;
    times.push(performance.now() - started);
    setOption(fd, 1, 13, AT_ONCE, 8);
    shut(fd);
    made++;
    // The listener takes what has come in, before its queue is full.
    for (let rounds = 0; at % 100 === 99 && taken < made - 50 && rounds < 500; rounds++)
      await new Promise((resolve) => setImmediate(resolve));
  }
  return times;
}

const percentile = (values: number[], share: number) =>
  values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

for (let index = 0; index < BASE; index++) builder.apply(objectsOf(index));
sync();
await connectTime(BASE);
const base = await connectTime(BASE);
// The first sync is one of an empty kernel: what the few have left is taken away.
reconciler.close();
host.nft.run(`delete table ${TABLE.family} ${TABLE.name}\n`);
const fresh = createReconciler({
  namespace: host,
  owns: { links: () => false, routeProtocol: ROUTE_PROTOCOL.fairlead, ...SERVICES_OWN },
  watch: false,
});
reconciler.set = (state) => fresh.set(state);
for (let index = BASE; index < SERVICES; index++) builder.apply(objectsOf(index));
plan = undefined;
const first = sync();
const more: number[] = [];
const moreCpu: number[] = [];
for (let round = 0; round < MORE; round++) {
  builder.apply(objectsOf(SERVICES + round));
  const began = process.threadCpuUsage();
  more.push(sync());
  const { user, system } = process.threadCpuUsage(began);
  moreCpu.push((user + system) / 1000);
  await new Promise((resolve) => setTimeout(resolve, 5));
}
const connected = await connectInTurns();
console.log(
  JSON.stringify({
    mode,
    services: SERVICES,
    firstSyncMs: first,
    oneMoreP50Ms: percentile(more, 0.5),
    oneMoreP99Ms: percentile(more, 0.99),
    oneMoreCpuP99Ms: percentile(moreCpu, 0.99),
    connectUs: connected.served.all,
    connectFewUs: connected.served.few,
    connectAt10Us: base,
    plainUs: connected.plain.all,
    plainFewUs: connected.plain.few,
    rssMB: process.memoryUsage().rss / 1e6,
  }),
);
process.exit(0);
