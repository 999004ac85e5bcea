// A real container runtime: podman (with its CNI back end) and runc start a container on our network.
//
// The test runs itself again in mount and PID namespaces of its own, where /run and /var/lib are empty: what podman starts, mounts and
// writes there ends with it. Storage is in a temporary directory, podman's side of the network in the node's namespace.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startAgent } from "../src/agent/index.ts";
import { sourceFromObjects } from "../src/cluster/index.ts";
import { createLinuxKernel } from "../src/kernel/index.ts";
import type { KubeObject } from "../src/resources/index.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const BUSYBOX = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));

function lacking(): string | undefined {
  if (process.getuid?.() !== 0) return "root";
  for (const program of ["podman", "runc", "conmon"]) if (spawnSync("sh", ["-c", `command -v ${program}`]).status !== 0) return program;
  if (!BUSYBOX) return "busybox (static)";
  if (!existsSync("/usr/lib/cni/loopback")) return "containernetworking-plugins";
  return spawnSync("sh", [join(ROOT, "scripts/build-native.sh")]).status === 0 ? undefined : "a C compiler";
}

const object = (kind: string, name: string, rest: object, namespace?: string): KubeObject =>
  ({ apiVersion: "v1", kind, metadata: { name, ...(namespace ? { namespace } : {}) }, ...rest }) as KubeObject;

const INSIDE = "FAIRLEAD_PODMAN_INSIDE";
const TITLE = "podman runs a container on our network, reaches it, and removes it without a trace";

if (process.env[INSIDE] === undefined) {
  test(TITLE, (t) => {
    const lacks = lacking();
    if (lacks !== undefined) {
      t.skip(`NOT RUN: it needs ${lacks}`);
      return;
    }
    const directory = mkdtempSync(join(tmpdir(), "fairlead-podman-"));
    const groups = cgroups();
    const { NODE_TEST_CONTEXT: _ours, ...environment } = process.env;
    const script = `mount -t tmpfs none /run && mount -t tmpfs none /var/lib && exec "${process.execPath}" --test "${fileURLToPath(import.meta.url)}"`;
    const run = spawnSync("unshare", ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script], {
      env: { ...environment, [INSIDE]: directory },
      encoding: "utf8",
    });
    rmSync(directory, { recursive: true, force: true });
    assert.equal(run.status, 0, `${run.stdout}\n${run.stderr}`);
    for (const group of cgroups()) if (!groups.includes(group)) removeGroup(group);
    assert.match(run.stdout, /pass 1\n/);
  });
} else test(TITLE, (t) => runContainer(t, process.env[INSIDE] ?? ""));

/** podman makes these parents and never removes them. */
function cgroups(): string[] {
  const roots = ["/sys/fs/cgroup", ...readdirSync("/sys/fs/cgroup").map((name) => `/sys/fs/cgroup/${name}`)];
  return roots.map((root) => join(root, "libpod_parent")).filter((path) => existsSync(path));
}

function removeGroup(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) if (entry.isDirectory()) removeGroup(join(path, entry.name));
  rmdirSync(path);
}

async function runContainer(t: TestContext, directory: string): Promise<void> {
  const at = (...parts: string[]) => join(directory, ...parts);
  for (const name of ["net.d", "bin", "root/bin", "storage", "run", "tmp"]) mkdirSync(at(name), { recursive: true, mode: 0o700 });
  const kernel = createLinuxKernel();
  const node = kernel.createNamespace();
  const wire = kernel.createNamespace();
  node.addVethPair({ name: "eth0", up: true }, { name: "wire", namespace: wire, up: true });
  node.apply({ op: "add", address: { link: "eth0", address: "10.112.0.51/24" } });
  const log: string[] = [];
  const agent = await startAgent({
    node: "node-1",
    kernel,
    namespace: node,
    source: sourceFromObjects([
      object("Node", "node-1", {
        spec: { podCIDRs: ["10.244.1.0/24"] },
        status: { addresses: [{ type: "InternalIP", address: "10.112.0.51" }] },
      }),
      // podman names the container as if it were a pod, in a namespace of the same name.
      object("Namespace", "web", {}),
      object("Pod", "web", { spec: { nodeName: "node-1", containers: [] }, status: {} }, "web"),
    ]),
    stateDirectory: at("agent"),
    cniSocket: at("cni.sock"),
    annotate: () => {},
    log: (line) => log.push(line),
  });

  copyFileSync(join(ROOT, ".build/fairlead-cni"), at("bin/fairlead"));
  chmodSync(at("bin/fairlead"), 0o755);
  writeFileSync(at("bin/fairlead.socket"), at("cni.sock"));
  copyFileSync("/usr/lib/cni/loopback", at("bin/loopback"));
  writeFileSync(
    at("net.d/10-fairlead.conflist"),
    JSON.stringify({ cniVersion: "0.4.0", name: "fairlead", plugins: [{ type: "fairlead" }] }),
  );
  writeFileSync(
    at("containers.conf"),
    `[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["${at("bin")}"]\nnetwork_config_dir = "${at("net.d")}"\ndefault_network = "fairlead"\n` +
      `[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nlock_type = "file"\ntmp_dir = "${at("tmp")}"\n[containers]\nlog_driver = "k8s-file"\n`,
  );
  copyFileSync(BUSYBOX ?? "", at("root/bin/busybox"));
  chmodSync(at("root/bin/busybox"), 0o755);
  execFileSync("tar", ["-C", at("root"), "-cf", at("image.tar"), "."]);

  const podman = (...args: string[]): Promise<{ readonly status: number | null; readonly stdout: string; readonly stderr: string }> =>
    new Promise((resolve) => {
      const flags = ["--root", at("storage"), "--runroot", at("run"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
      const child = node.spawn("podman", [...flags, ...args], {
        env: { PATH: process.env.PATH ?? "", CONTAINERS_CONF: at("containers.conf"), HOME: directory, TMPDIR: at("tmp") },
        stdio: ["ignore", "pipe", "pipe"],
      });
      let stdout = "";
      let stderr = "";
      child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
        stdout += chunk;
      });
      child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
        stderr += chunk;
      });
      child.once("close", (status) => resolve({ status, stdout, stderr }));
    });
  const succeed = async (...args: string[]) => {
    const { status, stdout, stderr } = await podman(...args);
    assert.equal(status, 0, `podman ${args.join(" ")}: ${stderr}\n${log.join("\n")}`);
    return stdout.trim();
  };
  t.after(async () => {
    await podman("rm", "--all", "--force", "--time", "0");
    await agent.close();
    for (const namespace of [node, wire]) namespace.close();
  });

  await succeed("import", at("image.tar"), "localhost/busybox:test");
  const limits = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"];
  const run = ["run", "--detach", "--runtime", "runc", "--name", "web", "--network", "fairlead", ...limits];
  await succeed(...run, "localhost/busybox:test", "/bin/busybox", "sleep", "600");
  assert.deepEqual(
    agent.status.ranges.map((range) => range.used),
    [1],
  );
  const inspected = JSON.parse(await succeed("inspect", "web"))[0].NetworkSettings.Networks.fairlead;
  assert.deepEqual([inspected.IPAddress, inspected.Gateway, inspected.IPPrefixLen], ["10.244.1.2", "10.244.1.1", 24]);
  const ping = node.run(() => spawnSync("ping", ["-c1", "-W3", "10.244.1.2"], { encoding: "utf8" }));
  assert.equal(ping.status, 0, ping.stdout);
  const seen = await succeed("exec", "web", "/bin/busybox", "ip", "route");
  assert.match(seen, /default via 10\.244\.1\.1 dev eth0/);

  await succeed("rm", "--force", "--time", "0", "web");
  assert.deepEqual(
    agent.status.ranges.map((range) => range.used),
    [0],
  );
  assert.deepEqual(
    node.listLinks().filter((link) => link.name.startsWith("veth")),
    [],
  );
  assert.deepEqual(log, []);
}
