// The kinds that Fairlead knows by name: Kubernetes' own, and custom ones that touch the network.

export interface KindInfo {
  /** "" for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly namespaced: boolean;
  /** Whether it is Kubernetes' own, or comes to other clusters by a CustomResourceDefinition. The embedded API serves both from the start. */
  readonly builtin: boolean;
}

interface Row {
  readonly short?: string;
  readonly cluster?: true;
  readonly plural?: string;
}

type Rows = Readonly<Record<string, Readonly<Record<string, Row>>>>;

const BUILTIN: Rows = {
  v1: {
    ConfigMap: { short: "cm" },
    Endpoints: { short: "ep", plural: "endpoints" },
    Event: { short: "ev" },
    LimitRange: { short: "limits" },
    Namespace: { short: "ns", cluster: true },
    Node: { short: "no", cluster: true },
    PersistentVolume: { short: "pv", cluster: true },
    PersistentVolumeClaim: { short: "pvc" },
    Pod: { short: "po" },
    PodTemplate: {},
    ReplicationController: { short: "rc" },
    ResourceQuota: { short: "quota" },
    Secret: {},
    Service: { short: "svc" },
    ServiceAccount: { short: "sa" },
  },
  "apps/v1": {
    ControllerRevision: {},
    DaemonSet: { short: "ds" },
    Deployment: { short: "deploy" },
    ReplicaSet: { short: "rs" },
    StatefulSet: { short: "sts" },
  },
  "batch/v1": { CronJob: { short: "cj" }, Job: {} },
  "autoscaling/v2": { HorizontalPodAutoscaler: { short: "hpa" } },
  "autoscaling/v1": { HorizontalPodAutoscaler: { short: "hpa" } },
  "policy/v1": { PodDisruptionBudget: { short: "pdb" } },
  "discovery.k8s.io/v1": { EndpointSlice: {} },
  "coordination.k8s.io/v1": { Lease: {} },
  "networking.k8s.io/v1": {
    Ingress: { short: "ing" },
    IngressClass: { cluster: true },
    IPAddress: { cluster: true, short: "ip" },
    NetworkPolicy: { short: "netpol" },
    ServiceCIDR: { cluster: true },
  },
  "rbac.authorization.k8s.io/v1": {
    ClusterRole: { cluster: true },
    ClusterRoleBinding: { cluster: true },
    Role: {},
    RoleBinding: {},
  },
  "storage.k8s.io/v1": {
    CSIDriver: { cluster: true },
    CSINode: { cluster: true },
    CSIStorageCapacity: {},
    StorageClass: { short: "sc", cluster: true },
    VolumeAttachment: { cluster: true },
    VolumeAttributesClass: { short: "vac", cluster: true },
  },
  "admissionregistration.k8s.io/v1": {
    MutatingAdmissionPolicy: { cluster: true },
    MutatingAdmissionPolicyBinding: { cluster: true },
    MutatingWebhookConfiguration: { cluster: true },
    ValidatingAdmissionPolicy: { cluster: true },
    ValidatingAdmissionPolicyBinding: { cluster: true },
    ValidatingWebhookConfiguration: { cluster: true },
  },
  "apiregistration.k8s.io/v1": { APIService: { cluster: true } },
  "authentication.k8s.io/v1": { SelfSubjectReview: { cluster: true }, TokenReview: { cluster: true } },
  "authorization.k8s.io/v1": {
    LocalSubjectAccessReview: {},
    SelfSubjectAccessReview: { cluster: true },
    SelfSubjectRulesReview: { cluster: true },
    SubjectAccessReview: { cluster: true },
  },
  "certificates.k8s.io/v1": { CertificateSigningRequest: { cluster: true, short: "csr" } },
  "events.k8s.io/v1": { Event: { short: "ev" } },
  "flowcontrol.apiserver.k8s.io/v1": { FlowSchema: { cluster: true }, PriorityLevelConfiguration: { cluster: true } },
  "node.k8s.io/v1": { RuntimeClass: { cluster: true } },
  "resource.k8s.io/v1": {
    DeviceClass: { cluster: true },
    ResourceClaim: {},
    ResourceClaimTemplate: {},
    ResourceSlice: { cluster: true },
  },
  "scheduling.k8s.io/v1": { PriorityClass: { short: "pc", cluster: true } },
  "apiextensions.k8s.io/v1": { CustomResourceDefinition: { short: "crd,crds", cluster: true } },
  // Served from the start, so that cluster-wide policies can be applied without their definitions.
  "policy.networking.k8s.io/v1alpha2": { ClusterNetworkPolicy: { cluster: true, short: "cnp" } },
  "policy.networking.k8s.io/v1alpha1": {
    AdminNetworkPolicy: { cluster: true, short: "anp" },
    BaselineAdminNetworkPolicy: { cluster: true, short: "banp" },
  },
};

const CUSTOM: Rows = {
  "projectcalico.org/v3": {
    BGPConfiguration: { cluster: true },
    BGPFilter: { cluster: true },
    BGPPeer: { cluster: true },
    BlockAffinity: { cluster: true },
    CalicoNodeStatus: { cluster: true },
    ClusterInformation: { cluster: true },
    FelixConfiguration: { cluster: true },
    GlobalNetworkPolicy: { cluster: true },
    GlobalNetworkSet: { cluster: true },
    HostEndpoint: { cluster: true },
    IPAMConfiguration: { cluster: true },
    IPPool: { cluster: true },
    IPReservation: { cluster: true },
    KubeControllersConfiguration: { cluster: true },
    NetworkPolicy: {},
    NetworkSet: {},
    Profile: { cluster: true },
    StagedGlobalNetworkPolicy: { cluster: true },
    StagedKubernetesNetworkPolicy: {},
    StagedNetworkPolicy: {},
    Tier: { cluster: true },
    WorkloadEndpoint: {},
  },
  // Calico's own store in a cluster without its API server: the same policies and pools, and the blocks of its address management.
  "crd.projectcalico.org/v1": {
    BGPConfiguration: { cluster: true },
    BGPFilter: { cluster: true },
    BGPPeer: { cluster: true },
    BlockAffinity: { cluster: true },
    FelixConfiguration: { cluster: true },
    GlobalNetworkPolicy: { cluster: true },
    GlobalNetworkSet: { cluster: true },
    HostEndpoint: { cluster: true },
    IPAMBlock: { cluster: true },
    IPAMConfig: { cluster: true },
    IPAMHandle: { cluster: true },
    IPPool: { cluster: true },
    IPReservation: { cluster: true },
    NetworkPolicy: {},
    NetworkSet: {},
    StagedGlobalNetworkPolicy: { cluster: true },
    StagedKubernetesNetworkPolicy: {},
    StagedNetworkPolicy: {},
    Tier: { cluster: true },
  },
  "operator.tigera.io/v1": {
    APIServer: { cluster: true },
    Goldmane: { cluster: true },
    ImageSet: { cluster: true },
    Installation: { cluster: true },
    TigeraStatus: { cluster: true, plural: "tigerastatuses" },
    Whisker: { cluster: true },
  },
  "cilium.io/v2": {
    CiliumBGPAdvertisement: { cluster: true },
    CiliumBGPClusterConfig: { cluster: true },
    CiliumBGPNodeConfig: { cluster: true },
    CiliumBGPNodeConfigOverride: { cluster: true },
    CiliumBGPPeerConfig: { cluster: true },
    CiliumCIDRGroup: { cluster: true, short: "ccg" },
    CiliumClusterwideEnvoyConfig: { cluster: true, short: "ccec" },
    CiliumClusterwideNetworkPolicy: { cluster: true, short: "ccnp" },
    CiliumEgressGatewayPolicy: { cluster: true },
    CiliumEndpoint: { short: "cep,ciliumep" },
    CiliumEnvoyConfig: { short: "cec" },
    CiliumIdentity: { cluster: true, short: "ciliumid" },
    CiliumLoadBalancerIPPool: { cluster: true, short: "ippools,ippool,lbippool" },
    CiliumLocalRedirectPolicy: { short: "clrp" },
    CiliumNetworkPolicy: { short: "cnp,ciliumnp" },
    CiliumNode: { cluster: true, short: "cn,ciliumn" },
    CiliumNodeConfig: {},
  },
  "cilium.io/v2alpha1": {
    CiliumBGPPeeringPolicy: { cluster: true },
    CiliumCIDRGroup: { cluster: true },
    CiliumEndpointSlice: { cluster: true },
    CiliumL2AnnouncementPolicy: { cluster: true, short: "l2announcement" },
    CiliumLoadBalancerIPPool: { cluster: true },
    CiliumPodIPPool: { cluster: true, short: "cpip" },
  },
  // The guide's own shape of Cilium's settings.
  "cilium.io/v1alpha1": { CiliumConfig: { cluster: true } },
  "gateway.networking.k8s.io/v1": {
    BackendTLSPolicy: { short: "btlspolicy" },
    GRPCRoute: {},
    Gateway: { short: "gtw" },
    GatewayClass: { cluster: true, short: "gc" },
    HTTPRoute: {},
  },
  "gateway.networking.k8s.io/v1beta1": {
    Gateway: { short: "gtw" },
    GatewayClass: { cluster: true, short: "gc" },
    HTTPRoute: {},
    ReferenceGrant: { short: "refgrant" },
  },
  "gateway.networking.k8s.io/v1alpha2": { TCPRoute: {}, TLSRoute: {}, UDPRoute: {} },
};

/** The plural that the API's paths have, from the kind in lower case. */
function pluralOf(lower: string): string {
  if (/(s|x|ch)$/.test(lower)) return `${lower}es`;
  return /[^aeiou]y$/.test(lower) ? `${lower.slice(0, -1)}ies` : `${lower}s`;
}

function listOf(rows: Rows, builtin: boolean): KindInfo[] {
  return Object.entries(rows).flatMap(([groupVersion, kinds]) => {
    const slash = groupVersion.indexOf("/");
    const group = slash < 0 ? "" : groupVersion.slice(0, slash);
    const version = groupVersion.slice(slash + 1);
    return Object.entries(kinds).map(([kind, row]) => ({
      group,
      version,
      kind,
      plural: row.plural ?? pluralOf(kind.toLowerCase()),
      shortNames: row.short?.split(",") ?? [],
      namespaced: !row.cluster,
      builtin,
    }));
  });
}

/** All kinds that are known, those that the API serves first. */
export const KINDS: readonly KindInfo[] = [...listOf(BUILTIN, true), ...listOf(CUSTOM, false)];

const byName = new Map(KINDS.map((info) => [`${apiVersionOf(info)}/${info.kind}`, info]));

/** The kind of an apiVersion ("apps/v1") and a kind ("Deployment"). */
export function findKind(apiVersion: string, kind: string): KindInfo | undefined {
  return byName.get(`${apiVersion}/${kind}`);
}

/** `v1`, `apps/v1`. */
export function apiVersionOf({ group, version }: Pick<KindInfo, "group" | "version">): string {
  return group === "" ? version : `${group}/${version}`;
}

/** Known kinds that somebody who wrote this may have meant, best first: the same kind elsewhere, or a name few letters away. */
export function closeKinds(apiVersion: string, kind: string): readonly KindInfo[] {
  const wanted = kind.toLowerCase().slice(0, 64);
  const rank = (info: KindInfo): number => {
    const same = apiVersionOf(info) === apiVersion ? 0 : 0.5;
    if (info.plural === wanted || info.shortNames.includes(wanted)) return same;
    return letterDistance(wanted, info.kind.toLowerCase()) + same;
  };
  const limit = Math.max(1, Math.floor(wanted.length / 4)) + 0.5;
  return KINDS.map((info) => ({ info, rank: rank(info) }))
    .filter((each) => each.rank <= limit)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, 3)
    .map(({ info }) => info);
}

/** How many letters must be added, dropped or changed (Levenshtein). */
function letterDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(change, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
