// Every pod has a service account, and finds its token, the authority's certificate and its namespace in its files.
import type { KubeObject } from "../resources/index.ts";
import type { AdmissionHook, MutableObject } from "./admission.ts";
import { forbidden } from "./errors.ts";

const ACCOUNTS = { group: "", version: "v1", plural: "serviceaccounts" } as const;
const DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Seconds that a pod's token holds; kubelet renews it long before. */
const TOKEN_SECONDS = 3607;
/** Name of the ConfigMap that holds the authority's certificate, in every namespace. */
export const ROOT_CA = "kube-root-ca.crt";

interface Account extends KubeObject {
  readonly automountServiceAccountToken?: boolean;
}

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

interface Container {
  readonly name: string;
  readonly volumeMounts?: readonly Mount[];
}

/** As the admission plugin ServiceAccount does it. */
export const serviceAccountAdmission: AdmissionHook = {
  name: "service-account",
  appliesTo: (resource, operation) => resource.kind === "Pod" && resource.group === "" && operation === "create",
  mutate(object, context) {
    const spec = object.spec as Record<string, unknown>;
    const name = typeof spec.serviceAccountName === "string" && spec.serviceAccountName !== "" ? spec.serviceAccountName : "default";
    const { namespace = "" } = object.metadata;
    const account = context.store.get<Account>(ACCOUNTS, namespace, name);
    // The account "default" is made right behind its namespace.
    if (!account && name !== "default") {
      const why = `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`;
      throw forbidden({ group: "", plural: "pods" }, object.metadata.name, why);
    }
    spec.serviceAccountName = name;
    spec.serviceAccount = name;
    if ((spec.automountServiceAccountToken ?? account?.automountServiceAccountToken ?? true) !== false) mountToken(object, spec);
  },
};

function mountToken(object: MutableObject, spec: Record<string, unknown>): void {
  const lists = ["containers", "initContainers"].map((field) => [field, (spec[field] ?? []) as Container[]] as const);
  const lacks = (container: Container) => !container.volumeMounts?.some(({ mountPath }) => mountPath === DIRECTORY);
  if (!lists.some(([, list]) => list.some(lacks))) return;
  const name = `kube-api-access-${String(object.metadata.uid ?? crypto.randomUUID()).slice(0, 5)}`;
  const mount: Mount = { name, mountPath: DIRECTORY, readOnly: true };
  for (const [field, list] of lists) {
    if (list.length === 0) continue;
    spec[field] = list.map((each) => (lacks(each) ? { ...each, volumeMounts: [...(each.volumeMounts ?? []), mount] } : each));
  }
  const sources = [
    { serviceAccountToken: { expirationSeconds: TOKEN_SECONDS, path: "token" } },
    { configMap: { name: ROOT_CA, items: [{ key: "ca.crt", path: "ca.crt" }] } },
    { downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] } },
  ];
  spec.volumes = [...((spec.volumes ?? []) as object[]), { name, projected: { sources, defaultMode: 420 } }];
}
