// The cluster room's face.

export { assumeCluster } from "./assume.ts";
export { createSnapshotBuilder, objectsOf, type SnapshotBuilder, snapshotOf } from "./build.ts";
export { CALICO_STORE, networkDefinitions } from "./definitions.ts";
export { type End, findEnd, findEnds, nameOfEnd, parseTarget, type Target, workloadOf } from "./ends.ts";
export { ApiConflict, KubeconfigError, KubernetesApiError } from "./errors.ts";
export { apiFromKubernetes, type KubernetesApi } from "./kubernetes/api-objects.ts";
export { type Transport, transportTo } from "./kubernetes/client.ts";
export { type ApiAccess, flattenKubeconfig, inClusterAccess, readKubeconfig, redirectKubeconfig } from "./kubernetes/kubeconfig.ts";
export {
  type KubernetesOptions,
  type ObjectPatch,
  patchObject,
  sourceFromKubernetes,
  writerToKubernetes,
} from "./kubernetes/kubernetes.ts";
export { type KubernetesObjects, objectsFromKubernetes } from "./kubernetes/objects.ts";
export {
  declaredPorts,
  type Expectations,
  type Expected,
  type Pair,
  type PairOptions,
  parseExpectations,
  planMatrix,
  unexpected,
} from "./matrix.ts";
export { Names } from "./names.ts";
export { apiFromStore, type ObjectApi, type WritableStore } from "./object-api.ts";
export { type ClusterObjects, objectsFromStore, type ReadableStore } from "./objects.ts";
export type * from "./snapshot.ts";
export {
  ChangeSource,
  createReplicaSource,
  loadSnapshot,
  NETWORK_RESOURCES,
  type ReplicaSource,
  saveSnapshot,
  sourceFromObjects,
  sourceFromStore,
  type WatchableStore,
  type WatchedResource,
} from "./source.ts";
export type { ClusterWriter, ObjectPlace } from "./writer.ts";
