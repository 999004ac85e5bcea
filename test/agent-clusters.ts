// API servers for agents in namespaces: the embedded one, and Kubernetes' own control plane.
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ApiServer, SqliteStore, startApiServer } from "../src/api/index.ts";
import type { NetworkNamespace } from "../src/kernel/index.ts";
import { KINDS, type KubeObject } from "../src/resources/index.ts";
import { kubectls } from "./clients.ts";
import { KubeControlPlane, lacksControlPlane } from "./kube-control-plane.ts";

const RBAC = join(import.meta.dirname, "../deploy/rbac.yaml");
/** A cluster's API, as its other components use it. */
export interface AgentCluster {
  /** Writes the agents' kubeconfig, and resolves when it serves. */
  start(): Promise<void>;
  /** The object as it is then, its status with it. */
  create(object: KubeObject): KubeObject;
  setStatus(object: KubeObject): void;
  get(kind: string, name: string): KubeObject | undefined;
  delete(kind: string, name: string): void;
  /** The server is away from now on. */
  end(): Promise<void>;
}

interface Site {
  readonly namespace: NetworkNamespace;
  /** In the namespace. */
  readonly address: string;
  readonly directory: string;
  readonly kubeconfig: string;
}

class EmbeddedCluster implements AgentCluster {
  readonly #site: Site;
  readonly #store = new SqliteStore({ path: ":memory:" });
  #server: ApiServer | undefined;

  constructor(site: Site) {
    this.#site = site;
  }

  async start(): Promise<void> {
    const { namespace, address, kubeconfig } = this.#site;
    this.create({ apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
    this.#server = await startApiServer({
      store: this.#store,
      listen: { fd: namespace.bindSocket({ protocol: "tcp", address, port: 6443, backlog: 64 }) },
      names: [address],
    });
    writeFileSync(kubeconfig, this.#server.kubeconfig("test"), { mode: 0o600 });
  }

  create(object: KubeObject): KubeObject {
    const { status, ...rest } = object as KubeObject & { status?: object };
    const made = this.#store.create(resourceOf(object.kind), rest as KubeObject);
    if (status) this.setStatus({ ...made, status } as KubeObject);
    return made;
  }

  setStatus(object: KubeObject): void {
    this.#store.update(resourceOf(object.kind), object, { subresource: "status" });
  }

  get(kind: string, name: string): KubeObject | undefined {
    return this.#store.get(resourceOf(kind), kind === "Node" ? undefined : "default", name);
  }

  delete(kind: string, name: string): void {
    this.#store.delete(resourceOf(kind), "default", name);
  }

  async end(): Promise<void> {
    await this.#server?.close();
    this.#server = undefined;
  }
}

/** Agents have the ServiceAccount of `deploy/rbac.yaml` and no more. */
class KubernetesCluster implements AgentCluster {
  readonly #site: Site;
  readonly #plane: KubeControlPlane;
  readonly #program = kubectls().at(-1)?.program ?? "kubectl";

  constructor(site: Site) {
    this.#site = site;
    const directory = join(site.directory, "control-plane");
    mkdirSync(directory);
    this.#plane = new KubeControlPlane(directory, { services: "10.96.0.0/16" }, site);
  }

  async start(): Promise<void> {
    await this.#plane.start();
    this.#kubectl(["apply", "-f", RBAC]);
    const token = this.#kubectl(["create", "token", "fairlead", "-n", "kube-system"]).trim();
    writeFileSync(this.#site.kubeconfig, this.#plane.kubeconfigFor(token), { mode: 0o600 });
  }

  create(object: KubeObject): KubeObject {
    const made = JSON.parse(this.#kubectl(["create", "-o", "json", "-f", "-"], JSON.stringify(object))) as KubeObject;
    const { status } = object as { status?: object };
    if (status) this.setStatus({ ...made, status } as KubeObject);
    return made;
  }

  setStatus(object: KubeObject): void {
    const { status } = object as { status?: object };
    const { kind, metadata } = object;
    this.#kubectl(["patch", kind, metadata.name, "--subresource=status", "--type=merge", "-p", JSON.stringify({ status })]);
  }

  get(kind: string, name: string): KubeObject | undefined {
    const text = this.#kubectl(["get", kind, name, "-o", "json", "--ignore-not-found"]);
    return text === "" ? undefined : (JSON.parse(text) as KubeObject);
  }

  delete(kind: string, name: string): void {
    this.#kubectl(["delete", kind, name]);
  }

  async end(): Promise<void> {
    await this.#plane.end("SIGKILL");
  }

  #kubectl(words: readonly string[], input = ""): string {
    const line = [`--net=${this.#site.namespace.path}`, "--", this.#program, `--kubeconfig=${this.#plane.kubeconfig}`, ...words];
    return execFileSync("nsenter", line, { encoding: "utf8", input, stdio: ["pipe", "pipe", "pipe"] });
  }
}

function resourceOf(kind: string) {
  const resource = KINDS.find((each) => each.builtin && each.kind === kind);
  if (!resource) throw new Error(`no kind ${kind} is known here`);
  return resource;
}

/** The servers, and why one can't be had here. */
export const CLUSTERS = [
  { what: "the embedded API server", make: (site: Site): AgentCluster => new EmbeddedCluster(site), skip: false },
  {
    what: "Kubernetes' own control plane, with deploy/rbac.yaml",
    make: (site: Site): AgentCluster => new KubernetesCluster(site),
    skip: lacksControlPlane(),
  },
] as const;
