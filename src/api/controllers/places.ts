// What stands on each node, counted as pods come and go, so that finding a place looks at no pod.
import { hostPorts, type Pod } from "../../resources/index.ts";
import type { WatchEvent } from "../store.ts";
import { controllerOf, isGone, keyOf } from "./context.ts";

/** "TCP/80" */
type Port = string;

/** The pods of one node that are not gone. */
export interface Place {
  readonly pods: number;
  /** How many of them a controller owns, by its uid. */
  ownedBy(uid: string | undefined): number;
  /** Which pod has one of these ports of the node. */
  clash(ports: readonly Port[]): { readonly port: Port; readonly pod: string } | undefined;
}

class Tally implements Place {
  pods = 0;
  readonly #owners = new Map<string, number>();
  readonly #ports = new Map<Port, Set<string>>();

  ownedBy(uid: string | undefined): number {
    return uid === undefined ? 0 : (this.#owners.get(uid) ?? 0);
  }

  clash(ports: readonly Port[]): { readonly port: Port; readonly pod: string } | undefined {
    for (const port of ports) {
      const [pod] = this.#ports.get(port) ?? [];
      if (pod !== undefined) return { port, pod };
    }
    return undefined;
  }

  add(pod: Pod, key: string): void {
    this.pods++;
    const owner = controllerOf(pod);
    if (owner !== undefined) this.#owners.set(owner, this.ownedBy(owner) + 1);
    for (const port of hostPorts(pod.spec)) this.#ports.set(port, (this.#ports.get(port) ?? new Set()).add(key));
  }

  remove(pod: Pod, key: string): void {
    this.pods--;
    const owner = controllerOf(pod);
    if (owner !== undefined) {
      const left = this.ownedBy(owner) - 1;
      if (left > 0) this.#owners.set(owner, left);
      else this.#owners.delete(owner);
    }
    for (const port of hostPorts(pod.spec)) this.#ports.get(port)?.delete(key);
  }
}

const EMPTY: Place = new Tally();

/** The places of all nodes, kept by the pods' events. */
export class Places {
  readonly #nodes = new Map<string, Tally>();
  /** Pods as they are counted now. */
  readonly #counted = new Map<string, Pod>();

  apply({ type, object }: WatchEvent): void {
    if (type === "BOOKMARK") return;
    const pod = object as Pod;
    const key = keyOf(pod);
    const before = this.#counted.get(key);
    if (before) this.#nodes.get(before.spec.nodeName ?? "")?.remove(before, key);
    this.#counted.delete(key);
    if (type === "DELETED" || pod.spec.nodeName === undefined || isGone(pod)) return;
    let node = this.#nodes.get(pod.spec.nodeName);
    if (!node) {
      node = new Tally();
      this.#nodes.set(pod.spec.nodeName, node);
    }
    node.add(pod, key);
    this.#counted.set(key, pod);
  }

  on(node: string): Place {
    return this.#nodes.get(node) ?? EMPTY;
  }
}
