// Bad input: each a message that says what, where, why and what to do; the right exit status; nothing half-made stays.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { LabStatus, ProbeResult } from "../src/lab/index.ts";
import { makePlace } from "./fairlead.ts";
import { eventually, until } from "./patience.ts";

const BIN = join(import.meta.dirname, "../bin/fairlead");
const place = makePlace();
const file = (name: string, text: string) => {
  const path = join(place.directory, name);
  writeFileSync(path, text);
  return path;
};

/** Processes that belong to this test's labs, by their environment. */
function processes(): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) &&
        Number(pid) !== process.pid &&
        readFileSync(`/proc/${pid}/environ`, "utf8").includes(`FAIRLEAD_STATE=${place.directory}`)
      );
    } catch {
      return false;
    }
  });
}

/** Devices and mounts of this machine, which no lab may change. */
function host(): string {
  return `${readdirSync("/sys/class/net").sort().join(" ")}\n${readFileSync("/proc/self/mountinfo", "utf8")}`;
}

/** No lab's directory, no process, no device or mount is left. */
async function nothingLeft(what: string, before: string, name = "lab"): Promise<void> {
  assert.equal(existsSync(join(place.directory, name)), false, `${what}: a directory is left`);
  assert.ok(await eventually(async () => processes().length === 0), `${what}: processes ${processes().join(", ")} are left`);
  assert.equal(host(), before, `${what}: the machine is as before`);
}

const SERVICE = (name: string, spec: string) => `apiVersion: v1\nkind: Service\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
const MANIFESTS: readonly (readonly [string, string, RegExp])[] = [
  ["YAML that ends too early", "apiVersion: v1\nkind: Service\nmetadata: {name: broken\nspec: {}\n", /m\.yaml:\d+:\d+: \S/],
  ["YAML with tabs", "apiVersion: v1\nkind: Pod\nmetadata:\n\tname: a\n", /m\.yaml:4:1: .*\(indent with spaces\)/s],
  ["a template", "apiVersion: v1\nkind: Pod\nmetadata: {{ .Values.x }}\na: [\n", /m\.yaml:\d+:\d+: .*helm template/s],
  ["no apiVersion", "kind: Deployment\nmetadata: {name: a}\n", /m\.yaml:1:1: apiVersion is missing \(add `apiVersion: apps\/v1`\)/],
  [
    "an unknown kind",
    "apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: a}\n",
    /m\.yaml:2:7: unknown kind apps\/v1 Deploymnet \(did you mean apps\/v1 Deployment/,
  ],
  [
    "a custom kind that nobody defines",
    "apiVersion: boats.example/v1\nkind: Keel\nmetadata: {name: a}\n",
    /m\.yaml:2:7: unknown kind .*CustomResourceDefinition/,
  ],
  [
    "no name",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {labels: {a: b}}\n",
    /m\.yaml:3:\d+: .*metadata\.name: Required value.*\(add metadata\.name\)/,
  ],
  [
    "a name that can't be one",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_Good}\n",
    /m\.yaml:3:18: .*metadata\.name: Invalid value: "Not_Good"/,
  ],
  [
    "a text for a number",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: three}\n",
    /m\.yaml:4:18: Deployment "a": spec\.replicas: .*three/,
  ],
  [
    "a port out of range",
    SERVICE("a", "{ ports: [{ port: 70000 }] }"),
    /m\.yaml:4:\d+: Service "a": spec\.ports\[0\]\.port: Invalid value: 70000: must be between 1 and 65535/,
  ],
  [
    "a selector that does not select its template",
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  selector: {matchLabels: {app: b}}\n  template: {metadata: {labels: {app: a}}, spec: {containers: [{name: a, image: i}]}}\n",
    /m\.yaml:\d+:\d+: Deployment "a": spec\.template\.metadata\.labels: .*selector/,
  ],
  [
    "two Services with one node port",
    `${SERVICE("first", "{ type: NodePort, ports: [{ port: 80, nodePort: 30080 }] }")}---\n${SERVICE("second", "{ type: NodePort, ports: [{ port: 80, nodePort: 30080 }] }")}`,
    /Service default\/second: .*spec\.ports\[0\]\.nodePort: Invalid value: 30080: provided port is already allocated, to Service default\/first/,
  ],
  [
    "a node port out of range",
    SERVICE("a", "{ type: NodePort, ports: [{ port: 80, nodePort: 99 }] }"),
    /m\.yaml:4:\d+: Service "a": spec\.ports\[0\]\.nodePort: .*30000-32767/,
  ],
  [
    "a cluster address of another cluster",
    SERVICE("a", "{ clusterIP: 192.0.2.1, ports: [{ port: 80 }] }"),
    /Service default\/a: .*"192\.0\.2\.1": the provided IP is not in the valid range 10\.96\.0\.0\/12/,
  ],
  [
    "the cluster DNS's own address",
    SERVICE("a", "{ clusterIP: 10.96.0.10, ports: [{ port: 80 }] }"),
    /already allocated, to Service kube-system\/kube-dns/,
  ],
];

const CALLS: readonly (readonly [readonly string[], RegExp])[] = [
  [["lab", "up", "nowhere.yaml"], /nowhere\.yaml:1:1: no such file or folder \(check the path\)/],
  [["lab", "up", "--nodes", "0"], /--nodes <number>' argument '0' is invalid\. It is a whole number from 1 to 1000/],
  [["lab", "up", "--nodes", "many"], /'many' is invalid/],
  [["lab", "up", "--mtu", "100"], /whole number from 1280 to 9216/],
  [["lab", "up", "--nodes", "201"], /201 nodes do not fit into 1 underlay subnet of 200.*raise --subnets to 2/],
  [["lab", "up", "--network", "carrier-pigeon"], /Allowed choices are overlay/],
  [["lab", "up", "--name", "No Good"], /"No Good" can't name a lab \(use lower case letters, digits and dashes/],
  [["lab", "up", "--name", "../outside"], /can't name a lab/],
  [["lab", "up", "--pod-cidr", "10.50.0.0"], /--pod-cidr: "10\.50\.0\.0" is no address range \(write it like/],
  [["lab", "up", "--pod-cidr", "10.50.0.7/16"], /--pod-cidr 10\.50\.0\.7\/16: it has bits set below its length \(write 10\.50\.0\.0\/16\)/],
  [
    ["lab", "up", "--pod-cidr", "10.50.0.0/16,10.51.0.0/16"],
    /--pod-cidr 10\.51\.0\.0\/16: there is one of IPv4 already, 10\.50\.0\.0\/16 \(give one range of each family\)/,
  ],
  [["lab", "up", "--pod-cidr", "10.50.0.0/28"], /--pod-cidr 10\.50\.0\.0\/28: it is too small for 3 nodes \(a node needs a \/29 at least/],
  [
    ["lab", "up", "--pod-cidr", "10.96.0.0/16"],
    /the pod range \(--pod-cidr\) 10\.96\.0\.0\/16 and the Service range \(--service-cidr\) 10\.96\.0\.0\/12 overlap \(choose networks/,
  ],
  [
    ["lab", "up", "--pod-cidr", "10.0.0.0/8", "--service-cidr", "172.20.0.0/16"],
    /10\.0\.0\.0\/8 and the lab's underlay 10\.112\.0\.0\/16 overlap/,
  ],
  [["lab", "up", "--service-cidr", "fd00:112::/112"], /fd00:112::\/112 and the lab's underlay fd00:112::\/48 overlap/],
  [
    ["lab", "up", "--service-cidr", "10.60.0.0/30"],
    /--service-cidr 10\.60\.0\.0\/30: it has 4 addresses \(a Service range of this family is from \/12 to \/28\)/,
  ],
  [["lab", "up", "--service-cidr", ""], /--service-cidr: "" is no address range/],
  [["lab", "up", "--api-port", "70000"], /whole number from 0 to 65535/],
  [["probe", "a/b", "c/d"], /no lab named lab is up \(fairlead lab up, or see: fairlead lab list\)/],
  [["exec", "a/b", "--", "true"], /no lab named lab is up/],
  [["lab", "nonsense"], /unknown command 'nonsense'/],
  [["prboe", "a", "b"], /unknown command 'prboe'\s+\(Did you mean probe\?\)/],
  [["matrix", "--static", "--manifests", "nowhere.yaml"], /nowhere\.yaml:1:1: no such file or folder/],
  [["crds", "example.com"], /no definitions of the group example\.com are here \(there are: .*cilium\.io/],
  [["completion", "tcsh"], /no completion for "tcsh": bash, zsh and fish have one/],
];

const TABLES: readonly (readonly [string, string, RegExp])[] = [
  ["no YAML", "pairs: [", /t\.yaml: .* at line 1.*\(correct the YAML\)/s],
  ["a list", "- a\n", /t\.yaml: a truth table is a mapping \(a truth table is: \{default/],
  ["a default that is none", "default: open\n", /t\.yaml: default: "open" is neither connected nor blocked/],
  ["an entry without to", "pairs: [{from: a/b, verdict: blocked}]\n", /t\.yaml: pairs\[0\] needs from and to/],
  [
    "a field misspelt",
    "pairs: [{from: a/b, to: c/d, prot: 80, verdict: blocked}]\n",
    /t\.yaml: pairs\[0\] has a field "prot", which is none of from, to, port/,
  ],
  ["a verdict that is none", "pairs: [{from: a/b, to: c/d, verdict: maybe}]\n", /t\.yaml: pairs\[0\]\.verdict: "maybe" is neither/],
  ["a port that is none", "pairs: [{from: a/b, to: c/d, port: 0, verdict: blocked}]\n", /t\.yaml: pairs\[0\]\.port: 0 is no port/],
  [
    "a pod that is not there",
    "pairs: [{from: production/nobody, to: production/api, verdict: blocked}]\n",
    /"production\/nobody" is nothing in this cluster/,
  ],
];

describe("bad input", () => {
  after(() => place.close());

  test("manifests", async (t) => {
    for (const [what, text, expected] of MANIFESTS)
      await t.test(what, async () => {
        const before = host();
        const run = await place.fairlead("lab", "up", "--nodes", "1", file("m.yaml", text));
        assert.equal(run.status, 2, run.err);
        assert.match(run.err, expected);
        assert.equal(run.out, "");
        assert.doesNotMatch(run.err, / at .*\.ts:\d+/, "no stack");
        await nothingLeft(what, before);
      });
  });

  test("calls", async (t) => {
    for (const [words, expected] of CALLS)
      await t.test(words.join(" "), async () => {
        const before = host();
        const run = await place.fairlead(...words);
        assert.equal(run.status, 2, run.err);
        assert.match(run.err, expected);
        await nothingLeft(words.join(" "), before);
      });
  });

  test("truth tables", async (t) => {
    const shop = join(import.meta.dirname, "../examples/shop");
    for (const [what, text, expected] of TABLES)
      await t.test(what, async () => {
        const run = await place.fairlead("matrix", "--static", "--manifests", shop, "--expect", file("t.yaml", text));
        assert.equal(run.status, 2, run.err);
        assert.match(run.err, expected);
      });
    const missing = await place.fairlead("matrix", "--static", "--manifests", shop, "--expect", "nowhere.yaml");
    assert.deepEqual([missing.status, missing.err], [2, "fairlead: nowhere.yaml: no such file (check the path)\n"]);
  });

  test("a Service range that is full", async () => {
    const before = host();
    const many = Array.from({ length: 15 }, (_, i) => SERVICE(`s${i}`, "{ ports: [{ port: 80 }] }")).join("---\n");
    const run = await place.fairlead("lab", "up", "--nodes", "1", "--service-cidr", "10.60.0.0/28", file("many.yaml", many));
    assert.equal(run.status, 2, run.err);
    assert.match(run.err, /Service default\/s\d+: .*failed to allocate IP: no address is left in 10\.60\.0\.0\/28/);
    await nothingLeft("full Service range", before);
  });

  test("a port that is taken", async () => {
    const before = host();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    try {
      const run = await place.fairlead("lab", "up", "--nodes", "1", "--api-port", String(port));
      assert.equal(run.status, 2, run.err);
      assert.match(
        run.err,
        new RegExp(`port ${port} of 127\\.0\\.0\\.1 is taken, so the API can't listen there \\(give another --api-port`),
      );
      await nothingLeft("taken port", before);
    } finally {
      server.close();
    }
  });

  test("a tool or a library that is missing, a privilege that is not there", async (t) => {
    const library = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"]
      .map((directory) => join(directory, "libnftables.so.1"))
      .find(existsSync);
    const tools = join(place.directory, "tools");
    mkdirSync(tools);
    for (const tool of ["sh", "uname", "readlink"]) symlinkSync(realpathSync(`/bin/${tool}`), join(tools, tool));
    chmodSync(place.directory, 0o755);
    const open = join(place.directory, "open");
    mkdirSync(open);
    chmodSync(open, 0o777);
    const up = [BIN, "lab", "up", "--nodes", "1"];
    const nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    // A user namespace whose own limit is 0 stands for a host that lets nobody make one.
    const limited = `
      unshare --user sleep 30 & holder=$!
      trap "kill $holder" EXIT
      until echo "0 0 65536" > /proc/$holder/uid_map; do sleep 0.05; done 2>/dev/null
      echo "0 0 65536" > /proc/$holder/gid_map
      nsenter --user=/proc/$holder/ns/user -- sh -c 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"' sh "$@"`;
    const shell = (script: string, ...words: string[]) => ["sh", "-c", `${script} && exec "$@"`, "sh", ...words];
    const rows: readonly (readonly [string, readonly string[], Readonly<Record<string, string>>, RegExp])[] = [
      [
        "no unshare on the PATH",
        up,
        { PATH: tools },
        /the program unshare is not on this machine's PATH: it .* \(Debian: apt-get install util-linux\)/,
      ],
      [
        "no libnftables",
        ["unshare", "--mount", "--", ...shell(`mount --bind /dev/null ${realpathSync(library ?? "/dev/null")}`, ...up)],
        {},
        /the lab could not be raised: .*libnftables\.so\.1.*apt-get install libnftables1/,
      ],
      [
        "an ordinary user, and no user namespaces",
        ["sh", "-c", limited, "sh", ...nobody, ...up],
        { FAIRLEAD_STATE: open },
        /an ordinary user can't make user namespaces on this host.*\(run as root, or let users: sysctl user\.max_user_namespaces/,
      ],
      [
        "root without CAP_SYS_ADMIN",
        ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--", ...up],
        {},
        /root has no CAP_SYS_ADMIN here, and can't make network namespaces \(in a container: run it with --privileged/,
      ],
    ];
    for (const [what, [command = "", ...words], environment, expected] of rows)
      await t.test(what, async () => {
        const before = host();
        const run = await place.run(command, words, environment);
        assert.equal(run.status, 2, run.err);
        assert.match(run.err, expected);
        assert.deepEqual(readdirSync(open), []);
        await nothingLeft(what, before);
      });
    rmSync(open, { recursive: true });
    rmSync(tools, { recursive: true });
  });

  test("Ctrl-C and SIGTERM while a lab is raised: nothing stays, whenever it comes", async (t) => {
    const manifest = file(
      "slow.yaml",
      "apiVersion: v1\nkind: Pod\nmetadata: {name: never}\nspec: {nodeSelector: {no: where}, containers: [{name: a, image: i}]}\n",
    );
    for (const [milliseconds, signal] of [
      [150, "SIGINT"],
      [400, "SIGINT"],
      [700, "SIGTERM"],
      [2500, "SIGINT"],
    ] as const)
      await t.test(`${signal} after ${milliseconds} ms`, async () => {
        const before = host();
        const child = spawn(BIN, ["lab", "up", manifest], { env: { ...process.env, FAIRLEAD_STATE: place.directory, NO_COLOR: "1" } });
        let err = "";
        child.stderr.on("data", (chunk) => {
          err += String(chunk);
        });
        await new Promise((resolve) => setTimeout(resolve, milliseconds));
        child.kill(signal);
        const status = await new Promise((resolve) => child.on("exit", (code, by) => resolve(code ?? by)));
        // Before its own code runs, the signal ends it as it ends any program.
        assert.ok(status === 130 || status === signal, `${status} ${err}`);
        if (status === 130) assert.match(err, /interrupted; nothing was left/);
        await nothingLeft(`${signal} after ${milliseconds} ms`, before);
      });
  });

  test("the command line killed with -9 while a lab is raised: its daemon ends too", async () => {
    const before = host();
    const child = spawn(BIN, ["lab", "up"], { env: { ...process.env, FAIRLEAD_STATE: place.directory }, stdio: "ignore" });
    assert.ok(await eventually(async () => processes().length > 1));
    child.kill("SIGKILL");
    await nothingLeft2("killed", before);
  });

  test("a lab that is up: its name is taken, what it was made with stays, and it goes on", async () => {
    await place.ok("lab", "up", "--nodes", "1", "--pod-cidr", "10.50.0.0/29,fd00:50::/64", "--service-cidr", "10.60.0.0/24,fd00:60::/112");
    for (const [words, expected] of [
      [["lab", "up"], /a lab named lab is up already \(fairlead lab down first, or give manifests to apply to it\)/],
      [["start"], /a lab named lab is up already/],
      [["lab", "up", "--nodes", "2", file("x.yaml", "")], /a lab named lab is up already, and --nodes can't be changed while it is/],
      [
        ["lab", "up", file("m.yaml", SERVICE("a", "{ clusterIP: 192.0.2.1, ports: [{ port: 80 }] }"))],
        /not in the valid range 10\.60\.0\.0\/24/,
      ],
      [["probe", "default/nobody", "outside"], /"default\/nobody" is nothing in this cluster/],
      [["probe", "outside", "node/node-1:99999"], /"99999" is no port.*\(ports go from 1 to 65535\)/],
      [["exec", "default/nobody", "--", "true"], /"default\/nobody" is nothing in this cluster/],
    ] as const) {
      const run = await place.fairlead(...words);
      assert.equal(run.status, 2, `${words.join(" ")}: ${run.err}`);
      assert.match(run.err, expected);
    }
    assert.ok(await eventually(async () => (await place.json<LabStatus>("lab", "status")).ready), "it was not disturbed");
    assert.match(await place.ok("lab", "node", "node-1", "--", "ip", "route"), /10\.50\.0\.0\/29 dev cni0/);
  });

  test("a pod range that is full: the pods that got no address say so, and lab up names them", async () => {
    const web = (replicas: number) =>
      `apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: ${replicas}, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: i, ports: [{containerPort: 80}]}]}}}\n`;
    const up = () => place.fairlead("lab", "up", "--timeout", "1", file("web.yaml", web(6)));
    assert.equal((await up()).status, 1);
    const pods = async () => (await place.json<LabStatus>("lab", "status")).pods.filter(({ name }) => name.startsWith("web-"));
    await until(
      async () =>
        (await pods()).filter(({ ready }) => ready).length === 4 && (await pods()).some(({ status }) => /no address/.test(status)),
      "four run, and the others have no address",
    );
    const run = await up();
    assert.equal(run.status, 1, run.err);
    assert.match(
      run.err,
      /not ready after 1 s:[\s\S]*pod default\/web-\S+: .*no address is free in 10\.50\.0\.0\/29: 5 are in use \(take pods away, or give the cluster a wider pod range/,
    );
    // Places that become free are taken.
    assert.match(await place.ok("lab", "up", file("web.yaml", web(3))), /web-/);
  });

  test("a broken CNI configuration: the pod says what is wrong with it, and waits until it is right", async () => {
    const list = join(place.directory, "lab/nodes/node-1/net.d/00-broken.conflist");
    const pod = file(
      "late.yaml",
      "apiVersion: v1\nkind: Pod\nmetadata: {name: late}\nspec: {containers: [{name: a, image: i, ports: [{containerPort: 80}]}]}\n",
    );
    const rows = [
      ["not JSON", /00-broken\.conflist: not a CNI configuration list, as it is no JSON: .*\(correct the file, or remove it/],
      [
        '{"name": "n", "cniVersion": "7.0.0", "plugins": [{"type": "fairlead"}]}',
        /cniVersion "7\.0\.0" is none that a list can have: 0\.3\.0, /,
      ],
      ['{"name": "n", "cniVersion": "1.1.0", "plugins": []}', /the CNI configuration list has no plugins/],
      [
        '{"name": "n", "cniVersion": "1.1.0", "plugins": [{"type": "nosuch"}]}',
        /there is no CNI plugin of type "nosuch" \(correct the type/,
      ],
    ] as const;
    const up = () => place.fairlead("lab", "up", "--timeout", "1", pod);
    const late = async () => (await place.json<LabStatus>("lab", "status")).pods.find(({ name }) => name === "late")?.status ?? "";
    for (const [text, expected] of rows) {
      writeFileSync(list, text);
      if ((await late()) === "") await up();
      // The next attempt is some seconds away.
      await until(async () => expected.test(await late()), String(expected));
      const run = await up();
      assert.equal(run.status, 1, run.err);
      assert.match(run.err, expected);
    }
    rmSync(list);
    await place.ok("lab", "up", "--timeout", "60", pod);
    assert.equal((await place.json<ProbeResult>("probe", "node/node-1", "default/late:80")).verdict, "connected");
    const before = host();
    await place.ok("lab", "down");
    await nothingLeft("lab down", before);
  });
});

/** As nothingLeft; the directory of a killed command line may stay for the next lab up or lab down. */
async function nothingLeft2(what: string, before: string): Promise<void> {
  assert.ok(await eventually(async () => processes().length === 0), `${what}: processes are left`);
  await place.fairlead("lab", "down");
  await nothingLeft(what, before);
}
