// How long a lab takes to rise and to go, what it holds in memory, and how fast the command line starts. Prints a table; asserts nothing.
//
//   node bench/lab.ts [--scale NODESxPODS] [--rounds 3]      as root, e.g. --scale 100x1000
//
// What is measured is what a person waits for: start of `bin/fairlead` to its end. The peers' figures are published ones, of
// machines much like this (k3d and kind with three nodes, until their nodes are Ready): they are printed beside ours, not run.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { textTable } from "../src/base/index.ts";

const { values } = parseArgs({ options: { scale: { type: "string" }, rounds: { type: "string", default: "3" } } });
const ROUNDS = Number(values.rounds);
const ROOT = fileURLToPath(new URL("..", import.meta.url));
const FAIRLEAD = join(ROOT, "bin/fairlead");
const NAME = `bench-${process.pid}`;
/** Seconds until a cluster of three nodes is there, as published. */
const PUBLISHED = { k3d: 19.9, kind: 33 } as const;
const PODS_PER_DEPLOYMENT = 20;

/** Runs a command to its end. @returns seconds */
function time(command: string, args: readonly string[]): number {
  const started = performance.now();
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: status ${status}: ${stderr}`);
  return (performance.now() - started) / 1000;
}

function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[figures.length >> 1] ?? Number.NaN;
}

const repeated = (count: number, what: () => number) => median(Array.from({ length: count }, what));
const seconds = (value: number) => `${value.toFixed(2)} s`;
const milliseconds = (value: number) => `${(value * 1000).toFixed(0)} ms`;

/** Memory of the lab's daemon and of everything it started, in bytes; shared pages count once in PSS, in every process in RSS. */
function memoryOf(pid: number): { readonly rss: number; readonly pss: number; readonly processes: number } {
  const parents = new Map<number, number>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      parents.set(Number(entry), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const family = new Set([pid]);
  for (let before = 0; before !== family.size; ) {
    before = family.size;
    for (const [child, parent] of parents) if (family.has(parent)) family.add(child);
  }
  const sum = { rss: 0, pss: 0, processes: family.size };
  for (const member of family) {
    const rollup = readFileSync(`/proc/${member}/smaps_rollup`, "utf8");
    sum.rss += 1024 * Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1]);
    sum.pss += 1024 * Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]);
  }
  return sum;
}

/** Deployments of twenty pods each, a Service for every second one, and one policy. */
function manifest(pods: number): string {
  const deployments = Array.from({ length: Math.ceil(pods / PODS_PER_DEPLOYMENT) }, (_, index) => {
    const app = `app-${index}`;
    return {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { namespace: "scale", name: app },
      spec: {
        replicas: Math.min(PODS_PER_DEPLOYMENT, pods - index * PODS_PER_DEPLOYMENT),
        selector: { matchLabels: { app } },
        template: {
          metadata: { labels: { app } },
          spec: { containers: [{ name: "web", image: "example.com/web:1", ports: [{ containerPort: 8080 }] }] },
        },
      },
    };
  });
  const services = deployments
    .filter((_, index) => index % 2 === 0)
    .map(({ metadata, spec }) => ({
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { selector: spec.selector.matchLabels, ports: [{ port: 80, targetPort: 8080 }] },
    }));
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { namespace: "scale", name: "only-app-1" },
    spec: {
      podSelector: { matchLabels: { app: "app-0" } },
      policyTypes: ["Ingress"],
      ingress: [{ from: [{ podSelector: { matchLabels: { app: "app-1" } } }] }],
    },
  };
  return JSON.stringify({ apiVersion: "v1", kind: "List", items: [...services, policy, ...deployments] });
}

interface Rise {
  readonly up: number;
  readonly down: number;
  readonly memory: ReturnType<typeof memoryOf>;
}

function riseAndFall(path: string, nodes: number): Rise {
  try {
    const up = time(FAIRLEAD, ["lab", "up", path, "--nodes", String(nodes), "--name", NAME, "--timeout", "600", "-o", "json"]);
    const status = spawnSync(FAIRLEAD, ["lab", "status", "--name", NAME, "-o", "json"], { encoding: "utf8", maxBuffer: 1 << 26 });
    const memory = memoryOf((JSON.parse(status.stdout) as { pid: number }).pid);
    return { up, memory, down: time(FAIRLEAD, ["lab", "down", "--name", NAME]) };
  } finally {
    spawnSync(FAIRLEAD, ["lab", "down", "--name", NAME]);
  }
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
const rows: string[][] = [];

const bare = repeated(11, () => time(process.execPath, ["-e", "0"]));
const help = repeated(11, () => time(FAIRLEAD, ["--help"]));
rows.push(["fairlead --help", milliseconds(help), `node -e 0: ${milliseconds(bare)}`, `${(help / bare).toFixed(1)} x`]);

riseAndFall(join(ROOT, "examples/shop"), 3);
const shop = Array.from({ length: ROUNDS }, () => riseAndFall(join(ROOT, "examples/shop"), 3));
const up = median(shop.map((rise) => rise.up));
for (const [peer, figure] of Object.entries(PUBLISHED))
  rows.push(["lab up, 3 nodes, examples/shop", seconds(up), `${peer}: ${figure} s (published)`, `1/${(figure / up).toFixed(1)}`]);
rows.push(["  memory, PSS", mebibytes(median(shop.map((rise) => rise.memory.pss))), "", ""]);
rows.push(["  lab down", seconds(median(shop.map((rise) => rise.down))), "", ""]);

if (values.scale !== undefined) {
  const [nodes = Number.NaN, pods = Number.NaN] = values.scale.split("x").map(Number);
  if (!Number.isInteger(nodes) || !Number.isInteger(pods)) throw new Error(`--scale is NODESxPODS, e.g. 100x1000, not ${values.scale}`);
  const directory = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
  try {
    const path = join(directory, "scale.json");
    writeFileSync(path, manifest(pods));
    const large = riseAndFall(path, nodes);
    rows.push([`lab up, ${nodes} nodes, ${pods} pods`, seconds(large.up), "", ""]);
    rows.push([
      "  memory, PSS (RSS)",
      `${mebibytes(large.memory.pss)} (${mebibytes(large.memory.rss)})`,
      `${large.memory.processes} processes`,
      "",
    ]);
    rows.push(["  lab down", seconds(large.down), "", ""]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
console.log(textTable([`median of ${ROUNDS}`, "fairlead", "beside it", "ratio"], rows));
