// What one for the whole cluster does about Services: load balancers' addresses into their statuses, faults into Events.
import { messageOf } from "../base/index.ts";
import type { ClusterSnapshot, ClusterSource, ClusterWriter } from "../cluster/index.ts";
import { type Fault, planBalancers, selectsNobody, serviceTable } from "../services/index.ts";
import { type Complaint, createEventRecorder } from "./event-recorder.ts";

export interface ServiceDutiesOptions {
  readonly source: ClusterSource;
  readonly writer: ClusterWriter;
  readonly log: (message: string) => void;
  /** Milliseconds that a fault must stand before there is an Event; that nobody answers, longer. */
  readonly patience?: { readonly NoEndpoints: number; readonly other: number };
}

export interface ServiceDuties {
  /** Whether nothing waits to be written. */
  readonly idle: boolean;
  close(): void;
}

const SERVICES = { group: "", version: "v1", plural: "services" } as const;
const RETRY_MS = 1000;
/** A status that was written and does not show by then was written over by another. */
const SHOWS_WITHIN_MS = 5000;
/** Pods take a while to come; a fault that a second change mends is none. */
const PATIENCE_MS: { readonly NoEndpoints: number; readonly other: number } = { NoEndpoints: 5000, other: 300 };

/** Starts the duties. There must be one at a time: see `holdLease`. */
export function startServiceDuties({ source, writer, log, patience = PATIENCE_MS }: ServiceDutiesOptions): ServiceDuties {
  const recorder = createEventRecorder({ writer, log });
  const written = new Map<string, { readonly addresses: readonly string[]; readonly at: number }>();
  let last: { readonly services: unknown; readonly slices: unknown; readonly nodes: unknown; readonly settings: unknown } | undefined;
  let faults: readonly Fault[] = [];
  let timer: NodeJS.Timeout | undefined;
  let inFlight = 0;

  function again(): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      last = undefined;
      if (source.synced) follow(source.snapshot);
    }, RETRY_MS).unref();
  }

  function follow(snapshot: ClusterSnapshot): void {
    const { services, endpointSlices: slices, nodes, configMaps: settings } = snapshot;
    if (last && last.services === services && last.slices === slices && last.nodes === nodes && last.settings === settings) return;
    last = { services, slices, nodes, settings };
    forgetShown(snapshot);
    const plan = planBalancers(snapshot, new Map([...written].map(([key, { addresses }]) => [key, addresses])));
    faults = plan.faults;
    for (const { service, ingress } of plan.changes) {
      const { namespace = "", name } = service.metadata;
      const key = `${namespace}/${name}`;
      written.set(key, { addresses: ingress.map(({ ip }) => ip), at: performance.now() });
      inFlight++;
      const status = { loadBalancer: { ingress: ingress.length > 0 ? ingress : null } };
      writer
        .patch({ resource: SERVICES, namespace, name }, { status }, "status")
        .then((done) => {
          if (!done) written.delete(key);
        })
        .catch((error) => {
          written.delete(key);
          log(`Service ${key}: its load balancer's address is not written: ${messageOf(error)}`);
          again();
        })
        .finally(() => inFlight--);
    }
    recorder.follow(complaintsOf(snapshot, faults, patience));
  }

  function forgetShown(snapshot: ClusterSnapshot): void {
    for (const [key, { addresses, at }] of written) {
      const shown = (snapshot.services.get(key)?.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip ? [ip] : []));
      if (!snapshot.services.get(key) || shown.join() === addresses.join() || performance.now() - at > SHOWS_WITHIN_MS) written.delete(key);
    }
    if (written.size > 0) again();
  }

  const stop = source.subscribe(follow);
  if (source.synced) follow(source.snapshot);
  return {
    get idle() {
      return inFlight === 0 && (!source.synced || planBalancers(source.snapshot).changes.length === 0);
    },
    close() {
      stop();
      clearTimeout(timer);
      recorder.close();
    },
  };
}

function complaintsOf(snapshot: ClusterSnapshot, unbalanced: readonly Fault[], patience: typeof PATIENCE_MS): Complaint[] {
  const empty = [...snapshot.services.values()].flatMap(
    (service) => selectsNobody(service, snapshot.endpointSlices.ofService(service.metadata.namespace ?? "", service.metadata.name)) ?? [],
  );
  return [...serviceTable(snapshot).faults, ...unbalanced, ...empty].flatMap(({ namespace, name, reason, says }) => {
    const object = snapshot.services.get(`${namespace}/${name}`);
    return object ? [{ object, reason, message: says, patience: reason === "NoEndpoints" ? patience.NoEndpoints : patience.other }] : [];
  });
}
