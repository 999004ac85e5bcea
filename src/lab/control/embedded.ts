// The lab's own API: store, server and controllers in the daemon's process.
import { mkdirSync } from "node:fs";
import { type ApiServer, openClusterStore, startApiServer, startControllers } from "../../api/index.ts";
import { FairleadError, urlHost } from "../../base/index.ts";
import { objectsFromStore, redirectKubeconfig, sourceFromStore } from "../../cluster/index.ts";
import type { Node } from "../../resources/index.ts";
import { FABRIC } from "../fabric.ts";
import { planNetworks } from "../networks.ts";
import { REFS } from "../refs.ts";
import { CLUSTER } from "../system.ts";
import type { ControlPlane, PlaneOptions } from "./control-plane.ts";
import { resume } from "./keep.ts";
import { storeWriter } from "./store-writer.ts";

/** Starts it. The server's certificate takes a while to make; the rest goes on meanwhile. */
export function startEmbeddedPlane({ options, paths, apiFd, router, nodes, pods, log }: PlaneOptions): ControlPlane {
  const networks = planNetworks(options);
  if (options.keep) mkdirSync(paths.kept, { recursive: true, mode: 0o700 });
  const path = options.keep ? paths.database : ":memory:";
  const store = openClusterStore({ path, serviceCidrs: networks.serviceCidrs });
  const source = sourceFromStore(store);
  let api: ApiServer | undefined;
  const serving = startApiServer({
    store,
    listen: { fd: apiFd },
    // What pods reach as Service default/kubernetes.
    alsoListen: [{ fd: router.bindSocket({ protocol: "tcp", address: FABRIC.apiServer, port: CLUSTER.apiPort }) }],
    names: [networks.apiAddress, "kubernetes", "kubernetes.default"],
    ...(options.keep ? { identityFile: paths.identity } : {}),
    pods,
  });
  serving.then(
    (server) => {
      api = server;
    },
    () => {},
  );
  resume(store, nodes);
  const controllers = startControllers({ store, podCidrs: networks.podCidrs, nodeMask: networks.nodeMask, log, serving });

  const served = (): ApiServer => {
    if (!api) throw new FairleadError("not-started", "the lab's API does not serve yet");
    return api;
  };
  return {
    objects: objectsFromStore(store, log),
    source,
    writer: storeWriter(store),
    networks,
    elsewhere: false,
    get idle() {
      return controllers.idle;
    },
    missing: [],
    get url() {
      return served().url;
    },
    kubeconfig: () => served().kubeconfig(options.name),
    podKubeconfig: async () => redirectKubeconfig((await serving).kubeconfig(options.name), `${urlHost(networks.apiAddress)}:443`),
    async token(pod, { audience, expirationSeconds = 3600 }) {
      const { namespace = "", name, uid = "" } = pod.metadata;
      const account = pod.spec.serviceAccountName ?? "default";
      // Only the lab's own pods start before the API serves, and those have no use for one.
      if (!api || !store.get(REFS.serviceAccounts, namespace, account)) return undefined;
      const audiences = audience === undefined ? {} : { audiences: [audience] };
      return api.issueToken({ namespace, account, seconds: expirationSeconds, pod: { name, uid }, ...audiences });
    },
    own: (object) => object,
    async awaitPodCidrs() {
      const end = performance.now() + 1000;
      const given = (name: string) => store.get<Node>(REFS.nodes, undefined, name)?.spec?.podCIDR !== undefined;
      while (!nodes.every(given) && performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
    },
    async serving() {
      await serving;
    },
    halt: () => controllers.close(),
    async close() {
      await (await serving.catch(() => undefined))?.close();
      source.close();
      store.close();
      return [];
    },
  };
}
