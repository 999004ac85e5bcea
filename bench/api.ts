// The API server alone: a long list, many writes while many watch, and how soon all have heard of one.
//
//   node bench/api.ts [PODS] [WATCHERS]
//
// The server is a process of its own (`fairlead api`); writers and watchers are this one's, over TLS, so that both share the machine.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { textTable } from "../src/base/index.ts";
import { ApiProcess } from "../test/api-server.ts";

const [pods = 10_000, watchers = 100] = process.argv.slice(2).map(Number);
const WRITERS = 32;
const WRITE_SECONDS = 10;
const MAPS = "/api/v1/namespaces/default/configmaps";

interface Kubeconfig {
  readonly clusters: readonly [{ readonly cluster: { readonly server: string; readonly "certificate-authority-data": string } }];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

const folder = mkdtempSync(join(tmpdir(), "bench-api-"));
const server = new ApiProcess(folder);
await server.start();
const config = parse(readFileSync(server.kubeconfig, "utf8")) as Kubeconfig;
const { cluster } = config.clusters[0];
const ca = Buffer.from(cluster["certificate-authority-data"], "base64");
const headers = { authorization: `Bearer ${config.users[0].user.token}`, "content-type": "application/json" };
const agent = new Agent({ keepAlive: true, maxSockets: WRITERS });

function call(method: string, path: string, body?: object): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const asked = request(`${cluster.server}${path}`, { method, ca, headers, agent }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const answer = Buffer.concat(chunks);
        if ((response.statusCode ?? 0) < 300) resolve(answer);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${answer.toString().slice(0, 200)}`));
      });
    });
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}

async function together(count: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: WRITERS }, worker));
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const memory = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1]) / 1024;

async function lists(): Promise<readonly string[][]> {
  const pod = (index: number) => ({
    metadata: { name: `pod-${index}`, labels: { app: `app-${index % 100}` } },
    spec: { schedulerName: "nobody", containers: [{ name: "main", image: "image", ports: [{ containerPort: 8080 }] }] },
  });
  await together(pods, (index) => call("POST", "/api/v1/namespaces/default/pods", pod(index)));
  const path = "/api/v1/pods";
  const bytes = (await call("GET", path)).length;
  const times: number[] = [];
  for (let round = 0; round < 15; round++) {
    const begin = performance.now();
    await call("GET", path);
    times.push(performance.now() - begin);
  }
  return [[`list of ${pods} pods (${(bytes / 1e6).toFixed(1)} MB), median of 15`, `${median(times).toFixed(0)} ms`, "150 ms"]];
}

async function writes(): Promise<readonly string[][]> {
  const marks = new Map<string, { left: number; begin: number; end: (milliseconds: number) => void }>();
  let events = 0;
  const heard = (text: string) => {
    events += text.split("\n").length - 1;
    for (const [, mark = ""] of text.matchAll(/"mark":"(\w+)"/g)) {
      const open = marks.get(mark);
      if (open && --open.left === 0) open.end(performance.now() - open.begin);
    }
  };
  const streams = await Promise.all(
    Array.from(
      { length: watchers },
      () =>
        new Promise<{ destroy(): void }>((resolve) => {
          const asked = request(`${cluster.server}${MAPS}?watch=true`, { ca, headers, agent: false }, (response) => {
            response
              .setEncoding("utf8")
              .on("data", heard)
              .on("error", () => {});
            resolve(asked);
          });
          asked.on("error", () => {}).end();
        }),
    ),
  );
  const map = (name: string, data: object) => ({ metadata: { name }, data });
  const reached: number[] = [];
  for (let round = 0; round < 60; round++) {
    const mark = `m${round}`;
    const done = new Promise<number>((end) => marks.set(mark, { left: watchers, begin: performance.now(), end }));
    await call("POST", MAPS, map(`marked-${round}`, { mark }));
    reached.push(await done);
  }
  await together(WRITERS, (index) => call("POST", MAPS, map(`busy-${index}`, { count: "0" })));
  let written = 0;
  const begin = performance.now();
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, index) => {
      while (performance.now() - begin < WRITE_SECONDS * 1000) {
        await call("PUT", `${MAPS}/busy-${index}`, map(`busy-${index}`, { count: String(written) }));
        written++;
      }
    }),
  );
  const seconds = (performance.now() - begin) / 1000;
  const perSecond = (count: number) => `${Math.round(count / seconds)}/s`;
  for (const stream of streams) stream.destroy();
  return [
    [`one write → ${watchers} watchers, request sent until the last has it, median`, `${median(reached).toFixed(1)} ms`, "10 ms"],
    [`writes with ${watchers} watchers, ${WRITE_SECONDS} s`, perSecond(written), "2000/s"],
    ["events taken by them", perSecond(events), ""],
  ];
}

try {
  const idle = memory();
  const rows = [...(await writes()), ...(await lists())];
  rows.push(["server's memory: idle, after all this", `${idle.toFixed(0)} MB, ${memory().toFixed(0)} MB`, ""]);
  process.stdout.write(textTable(["what", "Fairlead", "goal"], rows));
} finally {
  agent.destroy();
  await server.end("SIGTERM");
  rmSync(folder, { recursive: true });
}
