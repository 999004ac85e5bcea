// The API that a lab's nodes work for, and what acts behind it: the embedded one, or a server somewhere else.
import type { PodHost } from "../../api/index.ts";
import type { ClusterObjects, ClusterSource, ClusterWriter } from "../../cluster/index.ts";
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { KubeObject, Pod } from "../../resources/index.ts";
import type { TokenWish } from "../kubelet/volumes.ts";
import type { LabOptions } from "../lab.ts";
import type { ClusterNetworks } from "../networks.ts";
import type { LabPaths } from "../paths.ts";

/** What either is started with. */
export interface PlaneOptions {
  readonly options: LabOptions;
  readonly paths: LabPaths;
  /** Descriptor of the listening socket for persons. */
  readonly apiFd: number;
  /** Where pods reach the API. */
  readonly router: NetworkNamespace;
  /** Names of the lab's nodes. */
  readonly nodes: readonly string[];
  readonly pods: PodHost;
  readonly log: (message: string) => void;
}

export interface ControlPlane {
  readonly objects: ClusterObjects;
  readonly source: ClusterSource;
  readonly writer: ClusterWriter;
  /** The cluster's address ranges; those of pods are known for good once the nodes have theirs. */
  readonly networks: ClusterNetworks;
  /** Whether it is a server elsewhere, with a Service default/kubernetes and controllers of its own. */
  readonly elsewhere: boolean;
  /** Whether all that follows from the objects has been done, as far as it can be seen from here. */
  readonly idle: boolean;
  /** What of that has still to be done, in words, where others do it. */
  readonly missing: readonly string[];
  readonly url: string;
  /** A person's, as text. */
  kubeconfig(): string;
  /** The pods': at the address of Service default/kubernetes. */
  podKubeconfig(): Promise<string>;
  /** A token of the pod's service account; undefined where there is no such account, or nothing gives tokens yet. */
  token(pod: Pod, wish: TokenWish): Promise<string | undefined>;
  /** The object as the lab makes it there: where others make objects too, it says whose it is. */
  own<T extends KubeObject>(object: T): T;
  /** Resolves when each node has its share of the pod networks. */
  awaitPodCidrs(nodes: readonly string[]): Promise<void>;
  /** Resolves when the API answers. */
  serving(): Promise<void>;
  /** Nothing acts by itself any more; reads and writes go on. */
  halt(): void;
  /** Ends it; gives what the person should know of what is left. */
  close(): Promise<readonly string[]>;
}
