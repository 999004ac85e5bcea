// Kubernetes' own control plane as processes, on loopback or in a namespace: etcd, kube-apiserver, kube-controller-manager and kube-scheduler of the PATH.
import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { accessSync, constants, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { eventually } from "./patience.ts";

const PROGRAMS = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] as const;
type Program = (typeof PROGRAMS)[number];
/** Where it says that pods reach it: an address of its machine would be no loopback address. */
const ADVERTISED = "203.0.113.7";

/** Why it can't be had here; false if it can. */
export function lacksControlPlane(): string | false {
  const directories = (process.env.PATH ?? "").split(delimiter);
  const lacking = PROGRAMS.filter((program) => !directories.some((directory) => isExecutable(join(directory, program))));
  return lacking.length > 0 && `NOT RUN: not on the PATH: ${lacking.join(", ")} (no package of npm or Debian has them)`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export interface ClusterRanges {
  /** undefined: nodes get none from it. */
  readonly pods?: string;
  readonly services: string;
}

/** Where it runs; on loopback where nothing is said. */
export interface PlaneSite {
  readonly namespace: { readonly path: string };
  /** In the namespace. */
  readonly address: string;
}

export class KubeControlPlane {
  readonly #data: string;
  readonly #ranges: ClusterRanges;
  readonly #site: PlaneSite | undefined;
  readonly #children = new Map<Program, ChildProcess>();
  #ports: readonly number[] = [];

  /** `data`: its directory. */
  constructor(data: string, ranges: ClusterRanges, site?: PlaneSite) {
    this.#data = data;
    this.#ranges = ranges;
    this.#site = site;
  }

  get kubeconfig(): string {
    return join(this.#data, "kubeconfig");
  }

  /** The text of a kubeconfig for who has the token. */
  kubeconfigFor(token: string): string {
    return JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "it", cluster: { server: this.#url, "certificate-authority": this.#certificate } }],
      users: [{ name: "who", user: { token } }],
      contexts: [{ name: "it", context: { cluster: "it", user: "who" } }],
      "current-context": "it",
    });
  }

  get #url(): string {
    return `https://${this.#site?.address ?? "127.0.0.1"}:${this.#ports[2]}`;
  }

  get #certificate(): string {
    return join(this.#data, "certificates/apiserver.crt");
  }

  /** Resolves when it serves; the second time at the same port, with what was there. */
  async start(): Promise<void> {
    if (this.#ports.length === 0) await this.#prepare();
    const [client = 0, peer = 0, api = 0] = this.#ports;
    const file = (name: string) => join(this.#data, name);
    const url = (port: number) => `http://127.0.0.1:${port}`;
    this.#run("etcd", [
      `--data-dir=${file("etcd")}`,
      `--listen-client-urls=${url(client)}`,
      `--advertise-client-urls=${url(client)}`,
      `--listen-peer-urls=${url(peer)}`,
      `--initial-advertise-peer-urls=${url(peer)}`,
      `--initial-cluster=default=${url(peer)}`,
      "--log-level=error",
    ]);
    this.#run("kube-apiserver", [
      `--etcd-servers=${url(client)}`,
      `--bind-address=${this.#site?.address ?? "127.0.0.1"}`,
      `--secure-port=${api}`,
      `--advertise-address=${this.#site?.address ?? ADVERTISED}`,
      `--cert-dir=${file("certificates")}`,
      `--token-auth-file=${file("tokens.csv")}`,
      "--authorization-mode=Node,RBAC",
      "--anonymous-auth=false",
      `--service-cluster-ip-range=${this.#ranges.services}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-key-file=${file("accounts.pub")}`,
      `--service-account-signing-key-file=${file("accounts.key")}`,
    ]);
    const ready = async () => (await this.#answer("readyz")) === "ok";
    if (!(await eventually(ready))) throw new Error(`kube-apiserver is not ready: ${this.#lastWords("kube-apiserver")}`);
    writeFileSync(this.kubeconfig, this.kubeconfigFor(this.#token), { mode: 0o600 });
    const { pods } = this.#ranges;
    this.#run("kube-controller-manager", [
      `--kubeconfig=${this.kubeconfig}`,
      "--leader-elect=false",
      "--secure-port=0",
      `--service-account-private-key-file=${file("accounts.key")}`,
      `--root-ca-file=${this.#certificate}`,
      `--service-cluster-ip-range=${this.#ranges.services}`,
      ...(pods === undefined ? ["--allocate-node-cidrs=false"] : ["--allocate-node-cidrs=true", `--cluster-cidr=${pods}`]),
    ]);
    this.#run("kube-scheduler", [`--kubeconfig=${this.kubeconfig}`, "--leader-elect=false", "--secure-port=0"]);
  }

  /** Ends all of it; etcd last, so that it has what was acknowledged. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    for (const program of PROGRAMS.toReversed()) {
      const child = this.#children.get(program);
      this.#children.delete(program);
      if (!child || child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, "exit");
      child.kill(signal);
      await exited;
    }
  }

  async #prepare(): Promise<void> {
    this.#ports = await freePorts(3);
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(join(this.#data, "accounts.key"), privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
    writeFileSync(join(this.#data, "accounts.pub"), publicKey.export({ type: "spki", format: "pem" }));
    this.#token = randomBytes(16).toString("hex");
    writeFileSync(join(this.#data, "tokens.csv"), `${this.#token},admin,admin,"system:masters"\n`, { mode: 0o600 });
  }
  #token = "";

  #run(program: Program, words: readonly string[]): void {
    const output = openSync(join(this.#data, `${program}.log`), "a");
    const [command = "", ...rest] = this.#inside([program, ...words]);
    this.#children.set(program, spawn(command, rest, { stdio: ["ignore", output, output] }));
  }

  #inside(line: readonly string[]): readonly string[] {
    return this.#site ? ["nsenter", `--net=${this.#site.namespace.path}`, "--", ...line] : line;
  }

  #lastWords(program: Program): string {
    return readFileSync(join(this.#data, `${program}.log`), "utf8").slice(-2000);
  }

  async #answer(path: string): Promise<string | undefined> {
    const words = ["-sS", "--cacert", this.#certificate, "-H", `Authorization: Bearer ${this.#token}`];
    const [command = "", ...rest] = this.#inside(["curl", ...words, `${this.#url}/${path}`]);
    const child = spawn(command, rest, { stdio: ["ignore", "pipe", "ignore"] });
    let text = "";
    for await (const chunk of child.stdout) text += String(chunk);
    return text;
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
