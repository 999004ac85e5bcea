// The few writes that the network makes in a cluster: the interface, for the embedded API and for a Kubernetes API server.
import type { KubeObject } from "../resources/index.ts";
import type { WatchedResource } from "./source.ts";

/** Where one object is. */
export interface ObjectPlace {
  readonly resource: WatchedResource;
  readonly namespace?: string;
  readonly name: string;
}

/** Errors are the API's own: ApiError or KubernetesApiError. */
export interface ClusterWriter {
  /** Undefined if it is not there. */
  get(place: ObjectPlace): Promise<KubeObject | undefined>;
  /** Undefined if it is there already. */
  create(place: ObjectPlace, object: KubeObject): Promise<KubeObject | undefined>;
  /**
   * A JSON merge patch (RFC 7386): null takes a field away. A `metadata.resourceVersion` in it makes it a condition; undefined
   * if that is outdated, or the object is gone.
   */
  patch(place: ObjectPlace, patch: object, subresource?: "status"): Promise<KubeObject | undefined>;
}
