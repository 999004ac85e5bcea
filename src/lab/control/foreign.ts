// An API server somewhere else, with its own store, controllers and scheduler: the lab's nodes join it, and leave it at the end.
import { readFileSync } from "node:fs";
import { FairleadError, hostOfUrl, messageOf, urlHost } from "../../base/index.ts";
import {
  apiFromKubernetes,
  type ClusterSnapshot,
  type KubernetesObjects,
  NETWORK_RESOURCES,
  objectsFromKubernetes,
  readKubeconfig,
  redirectKubeconfig,
  sourceFromStore,
  type WatchedResource,
  writerToKubernetes,
} from "../../cluster/index.ts";
import { FABRIC } from "../fabric.ts";
import { planNetworks } from "../networks.ts";
import { REFS } from "../refs.ts";
import { openApiDoor } from "./api-door.ts";
import type { ControlPlane, PlaneOptions } from "./control-plane.ts";
import { settleDefinitions } from "./definitions.ts";
import { type Front, startFront } from "./front.ts";
import { marked, ownerOf } from "./mark.ts";
import { leave } from "./membership.ts";
import { settlePodCidrs, settleServices } from "./settle.ts";
import { unserved } from "./unserved.ts";

/** What the lab reads beside what the network is calculated from. */
const LAB_RESOURCES: readonly WatchedResource[] = [
  REFS.secrets,
  REFS.deployments,
  REFS.statefulSets,
  REFS.daemonSets,
  REFS.replicationControllers,
  REFS.jobs,
];
/** Leaving is tried for so long, in milliseconds. */
const LEAVE_MS = 8000;

/** Reads what the server has, and makes there what every lab needs before its first pod. @throws FairleadError, KubernetesApiError */
export async function startForeignPlane(foreign: PlaneOptions): Promise<ControlPlane> {
  const kubeconfig = readFileSync(foreign.paths.given, "utf8");
  const access = readKubeconfig(kubeconfig);
  const owner = ownerOf(foreign.options.name);
  const api = apiFromKubernetes(access);
  let objects: KubernetesObjects | undefined;
  try {
    // Before the first look at the kinds: what is not served then is looked for again a minute later.
    await settleDefinitions(api, owner, foreign.log);
    const resources = [...NETWORK_RESOURCES, ...LAB_RESOURCES];
    objects = await objectsFromKubernetes({ access, resources, onProblem: sayOnce(foreign.log) });
    return await join(foreign, kubeconfig, objects);
  } catch (error) {
    await tryToLeave(() => leave(api, owner));
    objects?.close();
    throw error;
  } finally {
    api.close();
  }
}

async function join(
  { options, apiFd, router, nodes, pods, log }: PlaneOptions,
  kubeconfig: string,
  objects: KubernetesObjects,
): Promise<ControlPlane> {
  const access = readKubeconfig(kubeconfig);
  const { server } = access;
  const owner = ownerOf(options.name);
  const source = sourceFromStore(objects);
  const writer = writerToKubernetes(access);
  // What a killed lab has left of nodes that there are no more.
  await leave(objects.api, owner, nodes);
  let networks = await settleServices(objects, planNetworks(options), owner);
  const port = Number(server.port) || (server.protocol === "https:" ? 443 : 80);
  const host = hostOfUrl(server);
  const closeDoor = openApiDoor({ router, objects, server: { host, port }, known: [FABRIC.apiServer], log });
  // Its certificate takes a while to make; the rest goes on meanwhile.
  const fronting = startFront({ fd: apiFd, access, objects, pods, nodes });
  fronting.catch(() => {});
  let front: Front | undefined;
  const started = (): Front => {
    if (!front) throw new FairleadError("not-started", "the lab's API does not serve yet");
    return front;
  };
  let looked: { readonly snapshot: ClusterSnapshot; readonly missing: readonly string[] } | undefined;

  return {
    objects,
    source,
    writer,
    get networks() {
      return networks;
    },
    elsewhere: true,
    get idle() {
      return objects.idle;
    },
    get missing() {
      const { snapshot } = source;
      if (looked?.snapshot !== snapshot)
        looked = { snapshot, missing: unserved(snapshot).map((pod) => `pod ${pod}: not among the end points of its Service yet`) };
      return looked.missing;
    },
    get url() {
      return started().url;
    },
    kubeconfig: () => started().kubeconfig(options.name),
    podKubeconfig: async () => redirectKubeconfig(kubeconfig, `${urlHost(networks.apiAddress)}:443`),
    token: ({ metadata, spec }, { audience, expirationSeconds = 3600 }) =>
      objects.requestToken({
        namespace: metadata.namespace ?? "default",
        account: spec.serviceAccountName ?? "default",
        pod: { name: metadata.name, uid: metadata.uid ?? "" },
        audiences: audience === undefined ? [] : [audience],
        seconds: expirationSeconds,
      }),
    own: (object) => marked(object, owner),
    async awaitPodCidrs() {
      networks = await settlePodCidrs(objects, nodes, networks, log);
    },
    async serving() {
      front = await fronting;
    },
    halt() {},
    async close() {
      closeDoor();
      (await fronting.catch(() => undefined))?.close();
      const left = await tryToLeave(() => leave(objects.api, owner));
      objects.close();
      source.close();
      writer.close();
      if (left === undefined) return [];
      log(`the cluster keeps the lab's objects: ${left}`);
      return [`${server.origin} still has the lab's Nodes and what it made (${left}): when the server is back, fairlead lab down again`];
    },
  };
}

/** Why it did not come about; undefined if it did. */
async function tryToLeave(attempt: () => Promise<void>): Promise<string | undefined> {
  let failed = `no answer within ${LEAVE_MS / 1000} s`;
  const over = new Promise<"over">((resolve) => setTimeout(resolve, LEAVE_MS, "over").unref());
  for (;;) {
    try {
      if ((await Promise.race([attempt(), over])) === "over") return failed;
      return undefined;
    } catch (error) {
      failed = messageOf(error);
    }
    if ((await Promise.race([new Promise((resolve) => setTimeout(resolve, 500)), over])) === "over") return failed;
  }
}

/** A server that is away is tried again and again: each problem is said once a minute at most. */
function sayOnce(log: (message: string) => void): (message: string) => void {
  const said = new Map<string, number>();
  return (message) => {
    const before = said.get(message);
    if (before !== undefined && performance.now() - before < 60_000) return;
    if (said.size > 100) said.clear();
    said.set(message, performance.now());
    log(message);
  };
}
