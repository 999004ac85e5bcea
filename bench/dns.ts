// The DNS server under dnsperf, beside CoreDNS where a binary of it is on the PATH: the same Corefile, the same cluster, in turns.
//
//   node bench/dns.ts [SECONDS]      needs dnsperf; everything runs on loopback and shares the machine's cores
//
// Answers a second by UDP for names of 1,000 Services and for cached names of the outside, each as fast as it goes and at half of
// 60,000 with the 99th percentile; then a cluster of 50,000 Services and 150,000 end points: time to the first right answer
// (the list from the API server counts), memory, and how long a changed Service takes to be answered.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { textTable } from "../src/base/index.ts";
import { ask } from "../test/dns-client.ts";
import { startUpstream } from "../test/dns-upstream.ts";

const SECONDS = Number(process.argv[2] ?? 6);
const HALF_LOAD = 30_000;
const PORT = 5454;
const API_PORT = 5455;
const SMALL = 1000;
const LARGE = 50_000;
const folder = mkdtempSync(join(tmpdir(), "fairlead-bench-"));
const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

interface Contender {
  readonly name: string;
  start(corefile: string): ChildProcess;
}

const contenders: Contender[] = [
  {
    name: "fairlead",
    start: (corefile) => spawn(process.execPath, ["--disable-warning=ExperimentalWarning", here("dns-server.ts"), corefile]),
  },
];
if (onPath("coredns")) contenders.push({ name: "coredns", start: (corefile) => spawn("coredns", ["-conf", corefile]) });

function onPath(program: string): boolean {
  return (process.env.PATH ?? "").split(":").some((directory) => {
    try {
      execFileSync("test", ["-x", join(directory, program)]);
      return true;
    } catch {
      return false;
    }
  });
}

function corefile(upstream: number): string {
  const path = join(folder, "Corefile");
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: "c", cluster: { server: `http://127.0.0.1:${API_PORT}` } }],
      users: [{ name: "u", user: {} }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  writeFileSync(
    path,
    `.:${PORT} {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        kubeconfig ${kubeconfig}
        startup_timeout 1m
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 127.0.0.1:9454
    forward . 127.0.0.1:${upstream}
    cache 30
    loop
    reload
    loadbalance
}
`,
  );
  return path;
}

/** What still runs when the benchmark ends early. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

function kept(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

async function api(services: number): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", here("dns-api.ts"), String(API_PORT), String(services)]);
  await once(child.stdout, "data");
  return kept(child);
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** Asks until the answer's first address fits; gives the address. */
async function until(name: string, fits: (address: string) => boolean): Promise<string> {
  for (;;) {
    const message = await ask(name, "A", { port: PORT, timeoutMs: 300 }).catch(() => undefined);
    const data = message?.answers.at(-1)?.data;
    if (data?.type === "A" && fits(data.address)) return data.address;
    if (!message) await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function queries(file: string, names: readonly string[]): string {
  const path = join(folder, file);
  writeFileSync(path, `${names.map((name) => `${name} A`).join("\n")}\n`);
  return path;
}

interface Load {
  readonly perSecond: number;
  readonly lost: number;
  /** Milliseconds. */
  readonly p99: number | undefined;
}

/** dnsperf for some seconds; with a rate the latency of each query is noted, in a file: whoever read along would want the cores, too. */
async function load(file: string, rate?: number): Promise<Load> {
  const args = [
    "-s",
    "127.0.0.1",
    "-p",
    String(PORT),
    "-d",
    file,
    "-l",
    String(SECONDS),
    "-c",
    "8",
    "-q",
    "200",
    ...(rate ? ["-Q", String(rate), "-v"] : []),
  ];
  const told = join(folder, "dnsperf.txt");
  const output = openSync(told, "w");
  await once(spawn("dnsperf", args, { stdio: ["ignore", output, "ignore"] }), "close");
  closeSync(output);
  const latencies: number[] = [];
  let summary = "";
  for (const line of readFileSync(told, "utf8").split("\n")) {
    if (line.startsWith("> ")) latencies.push(Number(line.slice(line.lastIndexOf(" ") + 1)));
    else summary += `${line}\n`;
  }
  latencies.sort((a, b) => a - b);
  return {
    perSecond: Number(/Queries per second:\s+([\d.]+)/.exec(summary)?.[1] ?? 0),
    lost: Number(/Queries lost:\s+(\d+)/.exec(summary)?.[1] ?? 0),
    p99: latencies.length > 0 ? (latencies[Math.floor(latencies.length * 0.99)] ?? 0) * 1000 : undefined,
  };
}

function residentMegabytes(child: ChildProcess): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? 0) / 1000;
}

const whole = (value: number) => Math.round(value).toLocaleString("en");

/** Throughput and latency: a row for each kind of name. */
async function measureLoad(contender: Contender, path: string): Promise<{ what: string; full: Load; half: Load }[]> {
  const cluster = queries(
    "cluster.txt",
    Array.from({ length: SMALL }, (_, index) => `svc-${index}.ns-${index % 100}.svc.cluster.local`),
  );
  const outside = queries(
    "outside.txt",
    Array.from({ length: SMALL }, (_, index) => `n${index}.bench.example.org`),
  );
  const child = kept(contender.start(path));
  await until("svc-1.ns-1.svc.cluster.local.", () => true);
  const rows = [];
  for (const [what, file] of [
    ["cluster names", cluster],
    ["cached external names", outside],
  ] as const) {
    // Fills the cache, and lets both compile what is hot. The upstream answers in this process, so it is not waited for idly.
    await once(spawn("dnsperf", ["-s", "127.0.0.1", "-p", String(PORT), "-d", file, "-n", "20", "-q", "50"], { stdio: "ignore" }), "close");
    const full = await load(file);
    rows.push({ what, full, half: await load(file, HALF_LOAD) });
  }
  await stop(child);
  return rows;
}

/** A large cluster: start, memory, change. */
async function measureScale(contender: Contender, path: string) {
  const begun = performance.now();
  const child = kept(contender.start(path));
  const last = LARGE - 1;
  await until(`svc-${last}.ns-${last % 100}.svc.cluster.local.`, () => true);
  const start = performance.now() - begun;
  const changes: number[] = [];
  for (let round = 0; round < 20; round++) {
    const name = "svc-0.ns-0.svc.cluster.local.";
    await until(name, () => true);
    // A denial or an answer that a cache keeps is not what is measured.
    await new Promise((resolve) => setTimeout(resolve, contender.name === "fairlead" ? 50 : 5500));
    const address = await (await fetch(`http://127.0.0.1:${API_PORT}/change`, { method: "POST" })).text();
    const changed = performance.now();
    await until(name, (given) => given === address);
    changes.push(performance.now() - changed);
    if (contender.name !== "fairlead" && round === 2) break;
  }
  const memory = residentMegabytes(child);
  await stop(child);
  changes.sort((a, b) => a - b);
  return { start, memory, change: changes[Math.floor(changes.length / 2)] ?? 0, worst: changes.at(-1) ?? 0 };
}

const upstream = await startUpstream();
upstream.behave = (query) => {
  const name = query.questions[0]?.name ?? ".";
  const answers = [{ name, class: 1, ttl: 3600, data: { type: "A" as const, address: "203.0.113.7" } }];
  return { ...query, response: true, recursionAvailable: true, answers };
};
const path = corefile(upstream.port);
try {
  const small = await api(SMALL);
  const loads: string[][] = [];
  for (const contender of contenders) {
    for (const { what, full, half } of await measureLoad(contender, path)) {
      loads.push([contender.name, what, whole(full.perSecond), String(full.lost), whole(half.perSecond), `${half.p99?.toFixed(2)} ms`]);
    }
  }
  await stop(small);
  console.log(textTable(["SERVER", `UDP, ${SMALL} SERVICES`, "ANSWERS/S", "LOST", `AT ${whole(HALF_LOAD)}/S`, "P99"], loads));
  const large = await api(LARGE);
  const scales = [];
  for (const contender of contenders) scales.push({ contender, ...(await measureScale(contender, path)) });
  await stop(large);
  console.log(
    textTable(
      ["SERVER", `${whole(LARGE)} SERVICES, ${whole(LARGE * 3)} END POINTS`, "MEMORY", "CHANGE ANSWERED (MEDIAN)", "(WORST)"],
      scales.map(({ contender, start, memory, change, worst }) => [
        contender.name,
        `first answer after ${(start / 1000).toFixed(2)} s`,
        `${whole(memory)} MB`,
        `${change.toFixed(1)} ms`,
        `${worst.toFixed(1)} ms`,
      ]),
    ),
  );
  const [ours, peer] = [loads[0], loads[2]];
  if (ours && peer)
    console.log(
      `cluster names: ${(Number(ours[2]?.replaceAll(",", "")) / Number(peer[2]?.replaceAll(",", ""))).toFixed(2)} times the answers of ${peer[0]}`,
    );
} finally {
  await upstream.close();
  rmSync(folder, { recursive: true });
}
