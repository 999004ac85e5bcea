// Whether an object is sound: its faults, field by field, as the API server tells them. Total: any JSON value may come.
import { validateMetadata } from "./validation/metadata.ts";
import { type FieldError, Place } from "./validation/place.ts";
import { checkData, checkIngress, checkNode } from "./validation/plain.ts";
import { checkPod } from "./validation/pod.ts";
import { checkNetworkPolicy } from "./validation/policy.ts";
import { checkEndpointSlice, checkService, type NodePortRange } from "./validation/service.ts";
import { checkCronJob, checkJob, checkReplicationController, checkWorkload } from "./validation/workload.ts";

export interface ValidateOptions {
  /** The cluster's node ports; 30000 to 32767 unless told. */
  readonly nodePorts?: NodePortRange;
}

type Check = (object: Place, old: unknown, options: ValidateOptions) => void;

const CHECKS: ReadonlyMap<unknown, Check> = new Map<string, Check>([
  ["v1/Service", (object, old, { nodePorts }) => checkService(object, old, nodePorts)],
  ["v1/Pod", checkPod],
  ["v1/ConfigMap", checkData],
  ["v1/Secret", checkData],
  ["v1/Node", checkNode],
  ["v1/ReplicationController", checkReplicationController],
  ["apps/v1/Deployment", checkWorkload],
  ["apps/v1/ReplicaSet", checkWorkload],
  ["apps/v1/DaemonSet", checkWorkload],
  ["apps/v1/StatefulSet", checkWorkload],
  ["batch/v1/Job", checkJob],
  ["batch/v1/CronJob", checkCronJob],
  ["discovery.k8s.io/v1/EndpointSlice", checkEndpointSlice],
  ["networking.k8s.io/v1/NetworkPolicy", checkNetworkPolicy],
  ["networking.k8s.io/v1/Ingress", checkIngress],
]);

/** The faults of what is neither metadata nor status; `old` is the object that an update replaces. */
export function validateBody(object: unknown, old?: unknown, options: ValidateOptions = {}): FieldError[] {
  const errors: FieldError[] = [];
  const place = new Place(object, errors);
  if (!place.isMap()) {
    if (!place.present) place.required("an object");
    return errors;
  }
  const [version, kind] = [place.at("apiVersion").value, place.at("kind").value];
  if (typeof version === "string" && typeof kind === "string") CHECKS.get(`${version}/${kind}`)?.(place, old, options);
  return errors;
}

/**
 * All faults of an object, with its defaults in place or not; none if it may be stored. Kinds without rules of their own are
 * checked by their metadata. `old` is the object that an update replaces. At most 100 faults each of body and metadata.
 */
export function validate(object: unknown, old?: unknown, options: ValidateOptions = {}): FieldError[] {
  const errors: FieldError[] = [];
  const place = new Place(object, errors);
  if (!place.isMap()) return validateBody(object);
  for (const field of ["apiVersion", "kind"]) if (place.at(field).require()) place.at(field).text();
  return [...errors, ...validateMetadata(object), ...validateBody(object, old, options)];
}
