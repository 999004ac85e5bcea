// Starts the controllers without which manifests do nothing.
import type { SqliteStore } from "../sqlite-store.ts";
import { type AccountSecrets, accountTokenController } from "./account-tokens.ts";
import { budgetController } from "./budgets.ts";
import { garbageController, namespaceController, type PodNetworks, podCidrController, unboundPodController } from "./cluster.ts";
import { type Controller, type ControllerContext, PodIndex, REF } from "./context.ts";
import { cronJobController } from "./cron-jobs.ts";
import { customKindController } from "./custom-kinds.ts";
import { deploymentController } from "./deployments.ts";
import { endpointSliceController } from "./endpoints.ts";
import { endpointsController } from "./endpoints-objects.ts";
import { eventRecorder, eventsInStore, sweepEvents } from "./events.ts";
import { jobController } from "./jobs.ts";
import { nodeController } from "./nodes.ts";
import { quotaController } from "./quotas.ts";
import { replicaSetController } from "./replicas.ts";
import { roleController } from "./roles.ts";
import { schedulerController } from "./scheduler.ts";
import { daemonSetController, statefulSetController } from "./sets.ts";

const SWEEP_MS = 60_000;

export interface ControllersOptions extends PodNetworks {
  readonly store: SqliteStore;
  readonly log: (message: string) => void;
  /** The server that will serve the store: its authority and tokens go to service accounts. */
  readonly serving?: Promise<AccountSecrets>;
}

export interface Controllers {
  /** Whether nothing waits to be done. */
  readonly idle: boolean;
  close(): void;
}

/** Starts them all. */
export function startControllers(options: ControllersOptions): Controllers {
  const { store, log } = options;
  const stops: (() => void)[] = [];
  const pods = new PodIndex();
  const now = () => new Date().toISOString().replace(/\.\d+Z$/, "Z");
  const sweeping = setInterval(() => sweepEvents(store, Date.now()), SWEEP_MS).unref();
  const context: ControllerContext = {
    store,
    pods,
    log,
    note: eventRecorder(eventsInStore(store), "controllers", now),
    now,
    watch: (resource, listener) => void stops.push(store.watch(resource, {}, listener)),
  };
  // First, so that every controller finds the index up to date when it hears of a pod.
  context.watch(REF.pods, (event) => pods.apply(event));
  const controllers: Controller[] = [
    customKindController(context, store.resources),
    namespaceController(context, store.resources),
    ...(options.podCidrs.length > 0 ? [podCidrController(context, options)] : []),
    garbageController(context, store.resources),
    unboundPodController(context),
    deploymentController(context),
    replicaSetController(context),
    replicaSetController(context, REF.replicationControllers),
    jobController(context),
    statefulSetController(context),
    daemonSetController(context),
    schedulerController(context),
    endpointSliceController(context),
    accountTokenController(context, options.serving),
    roleController(context),
    budgetController(context),
    cronJobController(context),
    endpointsController(context),
    nodeController(context),
    quotaController(context),
  ];
  return {
    get idle() {
      return controllers.every((controller) => controller.idle);
    },
    close() {
      clearInterval(sweeping);
      for (const stop of stops) stop();
      for (const controller of controllers) controller.close();
    },
  };
}
