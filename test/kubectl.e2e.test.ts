// Unmodified kubectls on a lab, the machine's and a newer one: what people type, and what they print. The table of docs/kubectl.md is
// written from what this test saw.
//
//   KUBECTL_DOCS=1 npm test -- test/kubectl.e2e.test.ts       writes the table anew
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Client, kubectls } from "./clients.ts";
import { makePlace, type Run } from "./fairlead.ts";
import { eventually } from "./patience.ts";

const DOCS = fileURLToPath(new URL("../docs/kubectl.md", import.meta.url));
const CLIENTS = kubectls();

const MANIFEST = `
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
data: { greeting: hello, page: "<p>hi</p>" }
---
apiVersion: v1
kind: Pod
metadata: { name: pod-test, labels: { app: pod-test } }
spec:
  terminationGracePeriodSeconds: 5
  volumes: [{ name: settings, configMap: { name: settings } }]
  containers:
    - name: shell
      image: busybox:1.36
      command: [sh, -c, "echo begun $GREETING; trap 'echo ended; exit 0' TERM; while true; do sleep 0.1; done"]
      env: [{ name: GREETING, valueFrom: { configMapKeyRef: { name: settings, key: greeting } } }]
      volumeMounts: [{ name: settings, mountPath: /opt/settings }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, annotations: { kubernetes.io/change-cause: first } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: nginx:1, ports: [{ containerPort: 80 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ name: http, port: 80 }] }
`;

/** Command and what its output must be like, in order; `!` in front: it fails, and says so. */
const ROWS: readonly (readonly [group: string, command: string, expected: RegExp])[] = [
  ["apply", "apply -f MANIFEST", /deployment.apps\/web created/],
  ["rollout", "rollout status deploy web --timeout 60s", /successfully rolled out/],
  ["wait", "wait pod --all --for condition=Ready --timeout 60s", /condition met/],
  ["get", "get pods", /pod-test +1\/1 +Running/],
  ["get", "get pod pod-test -o yaml", /kind: Pod\n/],
  ["get", "get deploy,svc -o wide", /deployment.apps\/web +2\/2[\s\S]*service\/web/],
  ["get", "get pods -l app=web -o jsonpath={.items[*].status.phase}", /^Running Running$/],
  ["get", "get pods --field-selector status.phase=Running -o name", /pod\/pod-test/],
  ["get", "get pods --sort-by .metadata.name --no-headers", /^pod-test/],
  ["get", "get pods --chunk-size 1 -o name", /pod\/web-/],
  ["describe", "describe pod pod-test", /Started container shell/],
  ["describe", "describe deploy web", /ScalingReplicaSet/],
  ["describe", "describe svc web", /Endpoints: +10\.244\./],
  ["describe", "describe node node-1", /InternalIP: +10\.112\.0\.51/],
  ["apply", "apply -f MANIFEST", /deployment.apps\/web unchanged/],
  ["apply", "apply -f MANIFEST --server-side --force-conflicts", /deployment.apps\/web serverside-applied/],
  ["apply", "!apply -f MANIFEST2 --server-side --field-manager other", /conflict with "kubectl"[\s\S]*\.spec\.replicas/],
  ["apply", "apply -f MANIFEST2 --dry-run=server", /deployment.apps\/web configured \(server dry run\)/],
  ["diff", "!diff -f MANIFEST2", /- {2}replicas: 2\n\+ {2}replicas: 3/],
  ["create", "create deployment made --image nginx --replicas 1 --port 80", /deployment.apps\/made created/],
  ["create", "create configmap map --from-literal a=1", /configmap\/map created/],
  ["create", "create secret generic key --from-literal a=1", /secret\/key created/],
  ["create", "create job once --image busybox -- true", /job.batch\/once created/],
  ["create", "create ingress way --rule a.example/=web:80", /ingress.networking.k8s.io\/way created/],
  ["create", "!create -f UNKNOWN", /strict decoding error: unknown field "spec\.containers\[0\]\.imagee"/],
  ["create", "create -f UNKNOWN --validate=warn", /Warning: unknown field/],
  ["expose", "expose deploy made --port 80", /service\/made exposed/],
  ["run", "run runner --image busybox --restart Never --command -- sh -c 'echo ran'", /pod\/runner created/],
  ["wait", "wait pod runner --for jsonpath={.status.phase}=Succeeded --timeout 60s", /condition met/],
  ["logs", "logs runner", /^ran$/m],
  ["logs", "logs pod-test --tail 1 --timestamps", /^\d{4}-\d\d-\d\dT\S+Z begun hello$/m],
  ["exec", "exec pod-test -- cat /opt/settings/page", /<p>hi<\/p>/],
  ["exec", "exec pod-test -- cat /etc/resolv.conf", /search default\.svc\.cluster\.local[\s\S]*nameserver 10\.96\.0\.10/],
  ["exec", "exec pod-test -- nslookup kubernetes.default", /10\.96\.0\.1\b/],
  ["exec", "!exec pod-test -- sh -c 'echo out; echo err >&2; exit 7'", /out[\s\S]*err[\s\S]*exit code 7/],
  ["cp", "cp MANIFEST pod-test:/root/copied", /^$/],
  ["cp", "exec pod-test -- head -c 15 /root/copied", /apiVersion: v1/],
  ["label", "label pod pod-test tier=back", /labeled/],
  ["annotate", "annotate pod pod-test note=x", /annotated/],
  ["patch", 'patch deploy web -p {"spec":{"replicas":3}}', /patched/],
  ["patch", 'patch deploy web --type merge -p {"spec":{"replicas":2}}', /patched/],
  ["patch", 'patch deploy web --type json -p [{"op":"test","path":"/spec/replicas","value":2}]', /no change/],
  ["scale", "scale deploy web --replicas 3", /scaled/],
  ["set", "set image deploy/web web=nginx:2", /image updated/],
  ["rollout", "rollout status deploy web --timeout 60s", /successfully rolled out/],
  ["rollout", "rollout history deploy web", /1 +first[\s\S]*2/],
  ["rollout", "rollout undo deploy web", /rolled back/],
  ["rollout", "rollout status deploy web --timeout 60s", /successfully rolled out/],
  ["rollout", "get deploy web -o jsonpath={.spec.template.spec.containers[0].image}", /^nginx:1$/],
  ["rollout", "rollout restart deploy web", /restarted/],
  ["rollout", "rollout pause deploy web", /paused/],
  ["rollout", "rollout resume deploy web", /resumed/],
  ["set", "set env deploy/web COLOUR=blue", /env updated/],
  ["wait", "wait deploy web --for condition=Available --timeout 60s", /condition met/],
  ["edit", "edit configmap map", /configmap\/map edited/],
  [
    "debug",
    "debug pod-test --image busybox --target shell --attach=false -c looker --profile general -- sleep 60",
    /Targeting container "shell"/,
  ],
  ["debug", "wait pod pod-test --for jsonpath={.status.ephemeralContainerStatuses[0].state.running} --timeout 60s", /condition met/],
  ["taint", "taint node node-2 keep=out:NoSchedule", /tainted/],
  ["taint", "taint node node-2 keep-", /untainted/],
  ["cordon", "cordon node-2", /cordoned/],
  ["cordon", "get node node-2", /SchedulingDisabled/],
  ["drain", "drain node-2 --ignore-daemonsets --force --delete-emptydir-data --timeout 60s", /drained/],
  ["drain", "uncordon node-2", /uncordoned/],
  ["events", "events --for pod/pod-test", /Started container shell/],
  ["explain", "explain pod.spec.containers.livenessProbe", /FIELD: livenessProbe <Probe>/],
  ["explain", "explain networkpolicy --recursive", /podSelector/],
  ["api-resources", "api-resources --api-group apps", /deployments +deploy +apps\/v1 +true +Deployment/],
  ["api-resources", "api-versions", /projectcalico\.org\/v3/],
  ["auth", "auth can-i create pods", /^yes/],
  ["auth", "!auth can-i create pods --as system:serviceaccount:default:default", /^no/],
  ["auth", "auth whoami", /system:masters/],
  ["auth", "create token default", /^ey/],
  ["certificate", "!certificate approve nobody", /not found/],
  ["top", "!top pods", /Metrics API not available/],
  ["kustomize", "kustomize FOLDER", /name: settings-kustomized/],
  ["kustomize", "apply -k FOLDER", /configmap\/settings-kustomized created/],
  ["config", "config current-context", /./],
  ["config", "config view --minify -o jsonpath={.clusters[0].cluster.server}", /^https:\/\/127\.0\.0\.1/],
  ["cluster-info", "cluster-info", /Kubernetes control plane is running/],
  ["version", "version", /Server Version: v1\./],
  ["delete", "delete job once --cascade=foreground --wait", /deleted/],
  ["delete", "delete deploy made --cascade=orphan", /deleted/],
  ["delete", "get rs -l app=made -o name", /replicaset/],
  ["delete", "delete rs -l app=made", /deleted/],
  ["delete", "delete pod pod-test --wait", /deleted/],
  ["delete", "delete -f MANIFEST --ignore-not-found", /deployment.apps "web" deleted/],
  ["delete", "delete all --all --timeout 60s", /deleted/],
];

/** Words as a shell splits them, single quotes only. */
function wordsOf(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

/** What a client was seen to do. */
interface Seen {
  readonly group: string;
  readonly command: string;
  readonly fails: boolean;
}

function runsOn({ program }: Client, seen: Seen[]): void {
  const place = makePlace();
  const files = join(place.directory, "files");
  let environment: Record<string, string> = {};
  const kubectl = (...words: string[]): Promise<Run> => place.run(program, words, environment);

  before(async () => {
    mkdirSync(join(files, "folder"), { recursive: true });
    const write = (name: string, text: string) => writeFileSync(join(files, name), text);
    write("manifest.yaml", MANIFEST);
    write("manifest2.yaml", MANIFEST.replace("replicas: 2", "replicas: 3"));
    write(
      "unknown.json",
      JSON.stringify({
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "odd" },
        spec: { containers: [{ name: "a", image: "a", imagee: "b" }] },
      }),
    );
    write("folder/kustomization.yaml", "nameSuffix: -kustomized\nresources: [settings.yaml]\n");
    write("folder/settings.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\ndata: { a: b }\n");
    write("editor.sh", '#!/bin/sh\nsed -i \'s/a: "1"/a: "2"/\' "$1"\n');
    await place.ok("lab", "up");
    environment = {
      KUBECONFIG: (await place.ok("lab", "kubeconfig")).trim(),
      EDITOR: `sh ${join(files, "editor.sh")}`,
      HOME: place.directory,
    };
  });
  after(() => place.close());

  const names = { MANIFEST2: "manifest2.yaml", MANIFEST: "manifest.yaml", UNKNOWN: "unknown.json", FOLDER: "folder" };

  test("commands, one after the other", async () => {
    for (const [group, row, expected] of ROWS) {
      const fails = row.startsWith("!");
      const command = fails ? row.slice(1) : row;
      const words = wordsOf(command).map((word) => {
        const name = Object.keys(names).find((each) => word === each) as keyof typeof names | undefined;
        return name ? join(files, names[name]) : word;
      });
      const { status, out, err } = await kubectl(...words);
      assert.equal(status !== 0, fails, `kubectl ${command}: exit status ${status}\n${out}${err}`);
      assert.match(`${out}${err}`, expected, `kubectl ${command}`);
      seen.push({ group, command, fails });
    }
  });

  test("attach, port-forward, proxy and logs -f carry streams", async () => {
    await kubectl(
      "run",
      "ticker",
      "--image",
      "busybox",
      "--command",
      "--",
      "sh",
      "-c",
      "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.1; done",
    );
    await kubectl("run", "web2", "--image", "nginx", "--port", "80");
    await kubectl("wait", "pod", "ticker", "web2", "--for", "condition=Ready", "--timeout", "60s");
    const streams: readonly (readonly [string[], RegExp])[] = [
      [["logs", "-f", "ticker", "--tail", "1"], /tick \d+\ntick \d+\n/],
      [["attach", "ticker"], /tick \d+\ntick \d+\n/],
    ];
    for (const [words, expected] of streams) {
      const child = spawn(program, words, { env: { ...process.env, ...environment } });
      let text = "";
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      assert.ok(await eventually(async () => expected.test(text)), `kubectl ${words.join(" ")}: ${text}`);
      child.kill("SIGINT");
      seen.push({ group: words[0] ?? "", command: words.join(" "), fails: false });
    }
    for (const [words, path] of [
      [["port-forward", "pod/web2", ":80"], "/"],
      [["proxy", "--port", "0"], "/api/v1/namespaces/default/pods/web2:80/proxy/"],
    ] as const) {
      for (const websockets of ["true", "false"]) {
        const child = spawn(program, words, { env: { ...process.env, ...environment, KUBECTL_PORT_FORWARD_WEBSOCKETS: websockets } });
        let said = "";
        child.stdout.on("data", (chunk: Buffer) => {
          said += chunk.toString();
        });
        const port = async () => Number(/127\.0\.0\.1:(\d+)/.exec(said)?.[1] ?? 0);
        assert.ok(await eventually(async () => (await port()) > 0), said);
        const answer = await fetch(`http://127.0.0.1:${await port()}${path}`, { signal: AbortSignal.timeout(20_000) });
        assert.match(await answer.text(), /"pod":"default\/web2"/);
        child.kill("SIGINT");
      }
      seen.push({ group: words[0], command: words.join(" "), fails: false });
    }
  });

  test("exec over SPDY, as older clients speak it", async () => {
    environment = { ...environment, KUBECTL_REMOTE_COMMAND_WEBSOCKETS: "false" };
    const { status, out, err } = await kubectl("exec", "ticker", "--", "sh", "-c", "echo out; echo err >&2; exit 3");
    assert.deepEqual([status, out], [3, "out\n"]);
    assert.match(err, /^err$/m);
  });
}

const absent = CLIENTS.length === 0 && "NOT RUN: no kubectl is on this machine, and scripts/clients.sh brought none";
const seen = new Map<string, Seen[]>();

describe("kubectl on a lab", { skip: absent }, () => {
  for (const client of CLIENTS) {
    const rows: Seen[] = [];
    seen.set(client.minor, rows);
    describe(`kubectl ${client.version}`, () => runsOn(client, rows));
  }
});

test("docs/kubectl.md says what was seen", { skip: absent }, () => {
  if (process.env.KUBECTL_DOCS) writeFileSync(DOCS, pageOf(seen));
  const page = tableOf(readFileSync(DOCS, "utf8"));
  for (const [minor, rows] of seen) {
    // A version that the page does not have does what the newest one does.
    const column = page.columns.includes(minor) ? page.columns.indexOf(minor) : page.columns.length - 1;
    assert.deepEqual(
      rows.map(cellsOf),
      page.rows.map(([group, command, ...results]) => [group, command, results[column]]),
      `docs/kubectl.md is not what kubectl ${minor} was seen to do: KUBECTL_DOCS=1 npm test -- test/kubectl.e2e.test.ts`,
    );
  }
});

function cellsOf({ group, command, fails }: Seen): [string, string, string] {
  return [group, `\`kubectl ${command.replaceAll("|", "\\|")}\``, fails ? "refused, and says why" : "works"];
}

/** The page of what the versions did, one column each. */
function pageOf(versions: ReadonlyMap<string, readonly Seen[]>): string {
  const [first = []] = versions.values();
  const rows = first.map((row, index) => {
    const [group, command] = cellsOf(row);
    const results = [...versions.values()].map((each) => (each[index] ? cellsOf(each[index])[2] : "not run"));
    return `| ${[group, command, ...results].join(" | ")} |`;
  });
  const titles = ["command", "as it was run", ...[...versions.keys()].map((minor) => `kubectl ${minor}`)];
  return `# kubectl on a lab

What unmodified kubectls do on a lab, as \`test/kubectl.e2e.test.ts\` ran them (\`KUBECTL_DOCS=1 npm test -- test/kubectl.e2e.test.ts\` writes this page anew).
MANIFEST and the like stand for files of the test.

| ${titles.join(" | ")} |
|${" --- |".repeat(titles.length)}
${rows.join("\n")}
`;
}

/** The versions and rows of the page's table. The formatter pads its cells. */
function tableOf(page: string): { readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] } {
  const lines = page.split("\n").filter((line) => line.startsWith("|"));
  const [titles = [], , ...rows] = lines.map((line) =>
    line
      .replace(/^\| */, "")
      .replace(/ *\|$/, "")
      .split(/ +\| +/),
  );
  return { columns: titles.slice(2).map((title) => title.replace("kubectl ", "")), rows };
}
