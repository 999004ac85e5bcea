// Two real nodes, four pods and a client outside, for tests that send packets to Services.
//
//   client 10.112.0.1 ──┬── node-1 10.112.0.51 ── cni0 ── a, b, d (10.244.1.2 …)
//                       └── node-2 10.112.0.52 ── cni0 ── c (10.244.2.2)
import { createSocket } from "node:dgram";
import { createServer, type Server, Socket } from "node:net";
import { deadline } from "../src/base/index.ts";
import { type ClusterSnapshot, snapshotOf } from "../src/cluster/index.ts";
import {
  createLinuxKernel,
  createReconciler,
  EMPTY_STATE,
  type KernelState,
  type NetworkNamespace,
  type Reconciler,
  ROUTE_PROTOCOL,
} from "../src/kernel/index.ts";
import { type NodeFacts, type PodAttachment, planNode, type ServiceMode, TABLE } from "../src/plan/index.ts";
import type { KubeObject, Node } from "../src/resources/index.ts";
import { SERVICE_BALANCER, SERVICE_CHAINS } from "../src/services/index.ts";
import { PATIENCE_MS } from "./patience.ts";
import { node, serviceCidr } from "./service-objects.ts";

export type { ServiceMode } from "../src/plan/index.ts";

const LINK = "ens160";
const PODS = { a: 1, b: 1, d: 1, c: 2 } as const;
const ORDER = { a: 2, b: 3, d: 4, c: 2 } as const;

export type PodName = keyof typeof PODS;
export type Place = PodName | "client" | "node-1" | "node-2";

export interface Answer {
  readonly verdict: "connected" | "refused" | "timeout" | "unreachable";
  readonly pod?: string;
  /** The client's address as the pod sees it. */
  readonly seen?: string;
}

/** The modes that this kernel has. The second kernel (npm run test:vm) has them all. */
export const TESTED_MODES: readonly ServiceMode[] =
  process.getuid?.() === 0 && createLinuxKernel().hostNamespace().ipvs.lack() === undefined
    ? ["nftables", "iptables", "ipvs"]
    : ["nftables", "iptables"];

/** In the second kernel, which is emulated, some tests do only what the machine's own kernel can't. */
export const BRIEF = process.env.FAIRLEAD_BRIEF === "1";

/** A connection that stays open: what is said comes back. */
export interface HeldConnection {
  readonly pod: string;
  say(text: string, timeoutMs?: number): Promise<string>;
  /** By a reset: nothing of it is left to wait for. */
  close(): void;
}

/** Address of a pod. */
export function podAddress(pod: PodName, family: 4 | 6 = 4): string {
  return family === 4 ? `10.244.${PODS[pod]}.${ORDER[pod]}` : `fd00:10:244:${PODS[pod]}::${ORDER[pod]}`;
}

export class ServiceNetwork {
  readonly #kernel = createLinuxKernel();
  readonly #namespaces = new Map<string, NetworkNamespace>();
  readonly #reconcilers = new Map<string, Reconciler>();
  readonly #planned = new Map<string, KernelState>();
  readonly #remarks = new Map<string, readonly string[]>();
  readonly #closers: (() => void)[] = [];

  /** How the nodes balance Services; may be changed between two calls of `set`. */
  mode: ServiceMode;

  constructor(mode: ServiceMode = "nftables") {
    this.mode = mode;
    const underlay = this.#make("underlay");
    underlay.apply({ op: "add", link: { name: "br0", kind: { type: "bridge" }, up: true } });
    this.#plug("client", ["10.112.0.1/24", "fd00:112::1/64"]);
    this.#plug("node-1", ["10.112.0.51/24", "fd00:112::51/64"]);
    this.#plug("node-2", ["10.112.0.52/24", "fd00:112::52/64"]);
    for (const [from, via] of [
      ["client", 51],
      ["node-1", 1],
      ["node-2", 1],
    ] as const)
      this.#defaultRoutes(from, via);
    this.set([]);
    for (const pod of Object.keys(PODS) as PodName[]) this.#serve(pod);
  }

  /** Namespace of a place. */
  at(place: Place): NetworkNamespace {
    const namespace = this.#namespaces.get(place);
    if (!namespace) throw new Error(place);
    return namespace;
  }

  /** Plans and writes both nodes for these Services. Throws if a node is not in sync. */
  set(objects: readonly KubeObject[]): void {
    const nodes: KubeObject[] = [1, 2].map((number) =>
      inZone(
        `zone-${number}`,
        node(`node-${number}`, [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`], [`10.112.0.5${number}`, `fd00:112::5${number}`], {
          "flannel.alpha.coreos.com/backend-data": `{"VNI":1,"VtepMAC":"02:00:00:00:00:0${number}"}`,
        }),
      ),
    );
    const snapshot = snapshotOf([...nodes, serviceCidr(["10.96.0.0/12", "fd00:10:96::/112"]), ...objects]);
    for (const number of [1, 2] as const) {
      const plan = planNode(snapshot, { ...factsOf(number, snapshot), options: { services: this.mode } });
      this.#planned.set(`node-${number}`, plan.kernel);
      this.#remarks.set(`node-${number}`, plan.remarks);
      const status = this.#reconciler(`node-${number}`).set(plan.kernel);
      if (!status.inSync) throw new Error(status.lastError ?? "not in sync");
      for (const [id, state] of plan.pods) if (this.#namespaces.has(id)) this.#podReconciler(id).set(state);
    }
  }

  /** What a node's kernel must hold since the last `set`. */
  planned(node: "node-1" | "node-2"): KernelState {
    return this.#planned.get(node) ?? EMPTY_STATE;
  }

  /** What was not followed in the last `set`. */
  remarks(node: "node-1" | "node-2"): readonly string[] {
    return this.#remarks.get(node) ?? [];
  }

  /** Reads everything back. Number of objects that differed from what was written. */
  drifts(): number {
    return [...this.#reconcilers.values()].reduce((sum, reconciler) => sum + reconciler.resync().drifts, 0);
  }

  #reconciler(name: string): Reconciler {
    let reconciler = this.#reconcilers.get(name);
    if (!reconciler) {
      const number = name === "node-1" ? 1 : 2;
      for (const { containerId, hostLink, interface: link, mac } of factsOf(number).attachments) {
        this.at(name as Place).addVethPair({ name: hostLink, up: true }, { name: link, namespace: this.#make(containerId), mac });
      }
      reconciler = createReconciler({
        namespace: this.at(name as Place),
        owns: {
          links: (link) => link === "cni0" || link.startsWith("flannel."),
          routeProtocol: ROUTE_PROTOCOL.fairlead,
          tables: [TABLE],
          iptables: SERVICE_CHAINS,
          ipvs: SERVICE_BALANCER,
        },
        watch: false,
      });
      this.#reconcilers.set(name, reconciler);
      // Redirects (the client is the nodes' way out, too) would use up the rate limit of the refusals that tests wait for.
      for (const link of ["all", LINK]) this.at(name as Place).writeSysctl(`net.ipv4.conf.${link}.send_redirects`, "0");
      for (const key of ["net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"]) this.at(name as Place).writeSysctl(key, "0");
    }
    return reconciler;
  }

  #podReconciler(pod: string): Reconciler {
    let reconciler = this.#reconcilers.get(pod);
    if (!reconciler) {
      reconciler = createReconciler({
        namespace: this.at(pod as PodName),
        owns: { links: (name) => name !== "lo", routeProtocol: ROUTE_PROTOCOL.fairlead, tables: [] },
        watch: false,
      });
      this.#reconcilers.set(pod, reconciler);
    }
    return reconciler;
  }

  #make(name: string): NetworkNamespace {
    const namespace = this.#kernel.createNamespace();
    this.#namespaces.set(name, namespace);
    // Until a router knows that nobody else has its address, it asks no neighbour for whom it forwards.
    namespace.writeSysctl("net.ipv6.conf.default.accept_dad", "0");
    namespace.apply({ op: "set", link: { name: "lo", up: true } });
    return namespace;
  }

  #plug(name: string, addresses: readonly string[]): void {
    const namespace = this.#make(name);
    this.#namespaces.get("underlay")?.addVethPair({ name, master: "br0", up: true }, { name: LINK, namespace, up: true });
    for (const address of addresses) namespace.apply({ op: "add", address: { link: LINK, address, nodad: true } });
  }

  #defaultRoutes(from: Place, host: number): void {
    for (const [family, destination, via] of [
      [4, "0.0.0.0/0", `10.112.0.${host}`],
      [6, "::/0", `fd00:112::${host}`],
    ] as const)
      this.at(from).apply({
        op: "add",
        route: { family, destination, type: "unicast", table: 254, protocol: ROUTE_PROTOCOL.static, nexthops: [{ via, link: LINK }] },
      });
  }

  /** The client sends to this address from that source from now on. */
  sendFrom(source: string, destination: string): void {
    const client = this.at("client");
    if (!client.listAddresses().some(({ address }) => address === `${source}/24`))
      client.apply({ op: "add", address: { link: LINK, address: `${source}/24` } });
    client.apply({
      op: "replace",
      route: {
        family: 4,
        destination: `${destination}/32`,
        type: "unicast",
        table: 254,
        protocol: ROUTE_PROTOCOL.static,
        nexthops: [{ via: "10.112.0.51", link: LINK }],
        source,
      },
    });
  }

  /** TCP on 8080 and UDP on 5353: "name address-of-the-client". TCP on 8081: its name, then whatever it hears. */
  #serve(pod: PodName): void {
    const namespace = this.at(pod);
    const plain = (address = "") => address.replace(/^::ffff:/, "");
    const server: Server = createServer((socket) => {
      socket.on("error", () => {});
      socket.end(`${pod} ${plain(socket.remoteAddress)}`);
    });
    server.listen({ fd: namespace.bindSocket({ protocol: "tcp", address: "::", port: 8080, backlog: 128 }) });
    // Of a connection that was cut, a pod never hears that its client has gone.
    const open = new Set<Socket>();
    const echo = createServer((socket) => {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
      socket.on("error", () => {});
      socket.write(pod);
      socket.pipe(socket);
    });
    echo.listen({ fd: namespace.bindSocket({ protocol: "tcp", address: "::", port: 8081, backlog: 128 }) });
    const udp = createSocket("udp6");
    udp.on("message", (_, from) => udp.send(`${pod} ${plain(from.address)}`, from.port, from.address));
    udp.bind({ fd: namespace.bindSocket({ protocol: "udp", address: "::", port: 5353 }) });
    this.#closers.push(
      () => server.close(),
      () => echo.close(),
      () => {
        for (const socket of open) socket.destroy();
      },
      () => udp.close(),
    );
  }

  /** Connects and reads who answers. */
  connect(from: Place, address: string, port: number, timeoutMs = PATIENCE_MS): Promise<Answer> {
    return new Promise((resolve) => {
      let text = "";
      const family = address.includes(":") ? 6 : 4;
      const socket = new Socket({ fd: this.at(from).openSocket({ protocol: "tcp", family }), manualStart: true } as never);
      const finish = (answer: Answer) => {
        end();
        socket.destroy();
        resolve(answer);
      };
      const end = deadline(timeoutMs, () => finish({ verdict: "timeout" }));
      socket.on("error", ({ code }: NodeJS.ErrnoException) => finish({ verdict: code === "ECONNREFUSED" ? "refused" : "unreachable" }));
      socket.on("data", (chunk) => {
        text += chunk.toString();
      });
      socket.on("end", () => finish(answerOf(text)));
      socket.connect({ host: address, port });
    });
  }

  /** Opens a connection to a port behind which pods echo, and keeps it. */
  async hold(from: Place, address: string, port: number): Promise<HeldConnection> {
    const family = address.includes(":") ? 6 : 4;
    const socket = new Socket({ fd: this.at(from).openSocket({ protocol: "tcp", family }), manualStart: true } as never);
    let failure: Error | undefined;
    socket.on("error", (error) => {
      failure = error;
    });
    const heard = (wanted: number, timeoutMs = PATIENCE_MS) =>
      new Promise<string>((resolve, reject) => {
        const fail = () => {
          end();
          reject(failure ?? new Error(`nothing heard from ${address}:${port}`));
        };
        const end = deadline(timeoutMs, fail);
        socket.once("error", fail);
        let text = "";
        const listen = (chunk: Buffer) => {
          text += chunk.toString();
          if (text.length < wanted) return;
          end();
          socket.off("error", fail);
          socket.off("data", listen);
          resolve(text);
        };
        socket.on("data", listen);
      });
    const greeting = heard(1);
    socket.connect({ host: address, port });
    this.#closers.push(() => socket.destroy());
    const pod = await greeting;
    return {
      pod,
      async say(text, timeoutMs) {
        const answer = heard(text.length, timeoutMs);
        socket.write(text);
        return await answer;
      },
      close: () => socket.resetAndDestroy(),
    };
  }

  /** Asks by UDP, again every 100 ms until there is an answer. */
  ask(from: Place, address: string, port: number, timeoutMs = PATIENCE_MS): Promise<Answer> {
    return new Promise((resolve) => {
      const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
      const send = () => socket.send("who", () => {});
      const again = setInterval(() => send(), 100);
      const finish = (answer: Answer) => {
        end();
        clearInterval(again);
        socket.close();
        resolve(answer);
      };
      const end = deadline(timeoutMs, () => finish({ verdict: "timeout" }));
      socket.once("message", (message) => finish(answerOf(message.toString())));
      socket.once("error", ({ code }: NodeJS.ErrnoException) => finish({ verdict: code === "ECONNREFUSED" ? "refused" : "unreachable" }));
      const any = address.includes(":") ? "::" : "0.0.0.0";
      socket.bind({ fd: this.at(from).bindSocket({ protocol: "udp", address: any, port: 0 }) }, () =>
        socket.connect(port, address, (error?: Error) => error || send()),
      );
    });
  }

  close(): void {
    for (const close of this.#closers) close();
    for (const reconciler of this.#reconcilers.values()) reconciler.close();
    for (const namespace of this.#namespaces.values()) namespace.close();
  }
}

function inZone(zone: string, object: Node): Node {
  return { ...object, metadata: { ...object.metadata, labels: { "topology.kubernetes.io/zone": zone } } };
}

function answerOf(text: string): Answer {
  const [pod = "", seen = ""] = text.split(" ");
  return { verdict: "connected", pod, seen };
}

/** Pods that the objects name are subject to policies; the others are just there. */
function factsOf(number: 1 | 2, snapshot?: ClusterSnapshot): NodeFacts {
  const pods = (Object.keys(PODS) as PodName[]).filter((pod) => PODS[pod] === number);
  return {
    node: `node-${number}`,
    underlay: { link: LINK, mtu: 1500, addresses: [`10.112.0.5${number}/24`, `fd00:112::5${number}/64`] },
    vtepMac: `02:00:00:00:00:0${number}`,
    attachments: pods.map(
      (pod): PodAttachment => ({
        containerId: pod,
        interface: "eth0",
        podNamespace: "shop",
        podName: snapshot?.pods.get(`shop/${pod}`) ? pod : "",
        netns: "",
        hostLink: `veth-${pod}`,
        mac: `0a:00:00:00:0${number}:0${ORDER[pod]}`,
        addresses: [`${podAddress(pod)}/24`, `${podAddress(pod, 6)}/64`],
      }),
    ),
  };
}
