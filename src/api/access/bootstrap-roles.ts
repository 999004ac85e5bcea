// The roles that every cluster has from the start, as data: those that people bind, and what everybody may look at.
import type { KubeObject } from "../../resources/index.ts";
import type { PolicyRule } from "./rbac.ts";

const READ = ["get", "list", "watch"];
const WRITE = ["create", "delete", "deletecollection", "patch", "update"];

const rule = (groups: string, resources: string, verbs: readonly string[]): PolicyRule => ({
  apiGroups: groups.split(",").map((group) => (group === "core" ? "" : group)),
  resources: resources.split(" "),
  verbs,
});

const CORE_OBJECTS =
  "configmaps endpoints persistentvolumeclaims pods replicationcontrollers replicationcontrollers/scale serviceaccounts services";
const CORE_VIEWS =
  "bindings events limitranges namespaces/status persistentvolumeclaims/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status services/status namespaces";
const APPS =
  "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale controllerrevisions";
const APPS_STATUS = "daemonsets/status deployments/status replicasets/status statefulsets/status";
const POLICIES = "networkpolicies networksets stagednetworkpolicies stagedkubernetesnetworkpolicies";

const VIEW: readonly PolicyRule[] = [
  rule("core", `${CORE_OBJECTS} ${CORE_VIEWS}`, READ),
  rule("discovery.k8s.io", "endpointslices", READ),
  rule("apps", `${APPS} ${APPS_STATUS}`, READ),
  rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
  rule("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
  rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
  rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
  rule("projectcalico.org,crd.projectcalico.org", POLICIES, READ),
  rule("cilium.io", "ciliumnetworkpolicies", READ),
];

const EDIT: readonly PolicyRule[] = [
  rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
  rule("core", "serviceaccounts", ["impersonate"]),
  rule("core", `${CORE_OBJECTS} pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy events`, WRITE),
  rule("core", "pods/eviction serviceaccounts/token", ["create"]),
  rule("apps", APPS, WRITE),
  rule("autoscaling", "horizontalpodautoscalers", WRITE),
  rule("batch", "cronjobs jobs", WRITE),
  rule("policy", "poddisruptionbudgets", WRITE),
  rule("networking.k8s.io", "ingresses networkpolicies", WRITE),
  rule("coordination.k8s.io", "leases", [...READ, ...WRITE]),
  rule("projectcalico.org,crd.projectcalico.org", POLICIES, WRITE),
  rule("cilium.io", "ciliumnetworkpolicies", WRITE),
];

const ADMIN: readonly PolicyRule[] = [
  rule("authorization.k8s.io", "localsubjectaccessreviews", ["create"]),
  rule("rbac.authorization.k8s.io", "rolebindings roles", [...READ, ...WRITE]),
];

const PATHS = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version", "/version/"];
const PUBLIC_PATHS = ["/healthz", "/livez", "/readyz", "/version", "/version/"];

const LABELS = { "kubernetes.io/bootstrapping": "rbac-defaults" };
const VERSION = "rbac.authorization.k8s.io/v1";

function role(name: string, rules: readonly PolicyRule[], labels: Readonly<Record<string, string>> = {}): KubeObject {
  return { apiVersion: VERSION, kind: "ClusterRole", metadata: { name, labels: { ...LABELS, ...labels } }, rules } as KubeObject;
}

/** Its rules are those of the roles that carry the label. */
function gathered(name: string, labels: Readonly<Record<string, string>> = {}): KubeObject {
  const selector = { matchLabels: { [`rbac.authorization.k8s.io/aggregate-to-${name}`]: "true" } };
  return { ...role(name, [], labels), aggregationRule: { clusterRoleSelectors: [selector] } } as KubeObject;
}

function binding(name: string, kind: "Group" | "User", subject: string): KubeObject {
  return {
    apiVersion: VERSION,
    kind: "ClusterRoleBinding",
    metadata: { name, labels: LABELS },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind, name: subject }],
  } as KubeObject;
}

const to = (...names: string[]) => Object.fromEntries(names.map((name) => [`rbac.authorization.k8s.io/aggregate-to-${name}`, "true"]));

/** Cluster roles and their bindings. */
export const BOOTSTRAP_ROLES: readonly KubeObject[] = [
  role("cluster-admin", [
    { apiGroups: ["*"], resources: ["*"], verbs: ["*"] },
    { nonResourceURLs: ["*"], verbs: ["*"] },
  ]),
  binding("cluster-admin", "Group", "system:masters"),
  gathered("admin"),
  gathered("edit", to("admin")),
  gathered("view", to("edit")),
  role("system:aggregate-to-view", VIEW, to("view")),
  role("system:aggregate-to-edit", EDIT, to("edit")),
  role("system:aggregate-to-admin", ADMIN, to("admin")),
  role("system:discovery", [{ nonResourceURLs: PATHS, verbs: ["get"] }]),
  binding("system:discovery", "Group", "system:authenticated"),
  role("system:public-info-viewer", [{ nonResourceURLs: PUBLIC_PATHS, verbs: ["get"] }]),
  binding("system:public-info-viewer", "Group", "system:authenticated"),
  role("system:basic-user", [
    rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", ["create"]),
    rule("authentication.k8s.io", "selfsubjectreviews", ["create"]),
  ]),
  binding("system:basic-user", "Group", "system:authenticated"),
  role("system:auth-delegator", [
    rule("authentication.k8s.io", "tokenreviews", ["create"]),
    rule("authorization.k8s.io", "subjectaccessreviews", ["create"]),
  ]),
];
