// What every lab's cluster holds from the start: namespaces, cluster DNS; and the API's own Service.
import type { Condition, KubeObject } from "../resources/index.ts";
import { NODE_CACHE } from "./dns/node-cache.ts";
import { FABRIC } from "./fabric.ts";
import type { ClusterNetworks } from "./networks.ts";

/** Name and port that every lab has. */
export const CLUSTER = { domain: "cluster.local", apiPort: 6443 } as const;

const ARCH = process.arch === "arm64" ? "arm64" : "amd64";

type Loose = KubeObject & Record<string, unknown>;

/** The guide's. */
export const DEFAULT_COREFILE = `.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . ${FABRIC.upstreamDns}
    cache 30
    loop
    reload
    loadbalance
}
`;

/** Objects made before a person's own. `replicas` of the DNS server: two, as kubeadm has it, where there are two nodes for them. */
export function systemObjects(replicas: number, networks: ClusterNetworks): Loose[] {
  const dnsLabels = { "k8s-app": "kube-dns" };
  return [
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "coredns", namespace: "kube-system" }, data: { Corefile: DEFAULT_COREFILE } },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "fairlead", namespace: "kube-system" },
      data: { loadBalancerPools: FABRIC.balancers.join(", "), podNetworks: networks.podCidrs.join(", ") },
    },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "coredns", namespace: "kube-system", labels: dnsLabels },
      spec: {
        replicas,
        strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
        selector: { matchLabels: dnsLabels },
        template: {
          metadata: { labels: dnsLabels },
          spec: {
            dnsPolicy: "Default",
            containers: [
              {
                name: "coredns",
                image: "registry.k8s.io/coredns/coredns:v1.14.0",
                args: ["-conf", "/etc/coredns/Corefile"],
                ports: [
                  { name: "dns", containerPort: 53, protocol: "UDP" },
                  { name: "dns-tcp", containerPort: 53, protocol: "TCP" },
                  { name: "metrics", containerPort: 9153, protocol: "TCP" },
                ],
                livenessProbe: {
                  httpGet: { path: "/health", port: 8080 },
                  initialDelaySeconds: 60,
                  timeoutSeconds: 5,
                  failureThreshold: 5,
                },
                // A second between looks: one that drains is taken out of the Service in time. One that is late only is not.
                readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1, timeoutSeconds: 5, failureThreshold: 1 },
                volumeMounts: [{ name: "config-volume", mountPath: "/etc/coredns", readOnly: true }],
              },
            ],
            volumes: [{ name: "config-volume", configMap: { name: "coredns", items: [{ key: "Corefile", path: "Corefile" }] } }],
          },
        },
      },
    },
    dnsService(networks),
  ];
}

/** The Service that the cluster's DNS is asked at. */
export function dnsService({ dnsAddress }: Pick<ClusterNetworks, "dnsAddress">): Loose {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: "kube-dns",
      namespace: "kube-system",
      labels: { "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS" },
    },
    spec: {
      selector: { "k8s-app": "kube-dns" },
      clusterIP: dnsAddress,
      ports: [
        { name: "dns", port: 53, protocol: "UDP" },
        { name: "dns-tcp", port: 53, protocol: "TCP" },
        { name: "metrics", port: 9153, protocol: "TCP" },
      ],
    },
  };
}

/** Service default/kubernetes. */
export function apiService({ apiAddress }: Pick<ClusterNetworks, "apiAddress">): Loose {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "kubernetes", namespace: "default", labels: { component: "apiserver", provider: "kubernetes" } },
    spec: { clusterIP: apiAddress, ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: CLUSTER.apiPort }] },
  };
}

/** What it sends to in the fabric. */
export function apiEndpoints(): Loose {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: [FABRIC.apiServer], conditions: { ready: true } }],
    ports: [{ name: "https", port: CLUSTER.apiPort, protocol: "TCP" }],
  };
}

/** The node-local DNS cache, as its own manifests have it: a Service to ask, its Corefile, a pod on every node. */
export function nodeCacheObjects(networks: ClusterNetworks): Loose[] {
  const labels = { "k8s-app": "node-local-dns" };
  const addresses = `${NODE_CACHE.address} ${networks.dnsAddress}`;
  const zone = (names: string, upstream: string, ttl: string) => `${names} {
    errors
    cache {
        ${ttl}
    }
    reload
    loop
    bind ${addresses}
    forward . ${upstream}
    prometheus :9253${names.startsWith(CLUSTER.domain) ? `\n    health ${NODE_CACHE.address}:8080` : ""}
}
`;
  const cluster = "__PILLAR__CLUSTER__DNS__ {\n        force_tcp\n    }";
  return [
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns-upstream", namespace: "kube-system", labels: { "k8s-app": "kube-dns" } },
      spec: {
        selector: { "k8s-app": "kube-dns" },
        ports: [
          { name: "dns", port: 53, protocol: "UDP" },
          { name: "dns-tcp", port: 53, protocol: "TCP" },
        ],
      },
    },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "node-local-dns", namespace: "kube-system" },
      data: {
        Corefile: [
          zone(`${CLUSTER.domain}:53`, cluster, "success 9984 30\n        denial 9984 5"),
          zone("in-addr.arpa:53 ip6.arpa:53", cluster, "success 9984 30\n        denial 9984 5"),
          zone(".:53", "__PILLAR__UPSTREAM__SERVERS__", "success 9984 30"),
        ].join(""),
      },
    },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "node-local-dns", namespace: "kube-system", labels },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            hostNetwork: true,
            dnsPolicy: "Default",
            tolerations: [{ operator: "Exists" }],
            containers: [
              {
                name: "node-cache",
                image: "registry.k8s.io/dns/k8s-dns-node-cache:1.26.0",
                args: [
                  "-localip",
                  `${NODE_CACHE.address},${networks.dnsAddress}`,
                  "-conf",
                  "/etc/Corefile",
                  "-upstreamsvc",
                  "kube-dns-upstream",
                ],
                ports: [
                  { name: "dns", containerPort: 53, protocol: "UDP" },
                  { name: "dns-tcp", containerPort: 53, protocol: "TCP" },
                  { name: "metrics", containerPort: 9253, protocol: "TCP" },
                ],
                readinessProbe: { httpGet: { host: NODE_CACHE.address, path: "/health", port: 8080 }, periodSeconds: 1 },
                livenessProbe: {
                  httpGet: { host: NODE_CACHE.address, path: "/health", port: 8080 },
                  initialDelaySeconds: 60,
                  timeoutSeconds: 5,
                },
                volumeMounts: [{ name: "config-volume", mountPath: "/etc/Corefile", subPath: "Corefile" }],
              },
            ],
            volumes: [{ name: "config-volume", configMap: { name: "node-local-dns" } }],
          },
        },
      },
    },
  ];
}

/** What kubelet says of a node that works. */
export function readyConditions(now: string): Condition[] {
  return [
    {
      type: "Ready",
      status: "True",
      reason: "KubeletReady",
      message: "kubelet is posting ready status",
      lastTransitionTime: now,
      lastHeartbeatTime: now,
    } as Condition,
  ];
}

/** The Node object of a lab's node. */
export function nodeObject(name: string, addresses: readonly string[], zone: string, now: string): Loose {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      labels: {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": ARCH,
        // The older names, which kubelets still set and published manifests still ask for.
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": ARCH,
        "topology.kubernetes.io/zone": zone,
      },
    },
    spec: {},
    status: {
      addresses: [
        ...addresses.map((address) => ({ type: "InternalIP", address: address.replace(/\/.*/, "") })),
        { type: "Hostname", address: name },
      ],
      capacity: { cpu: "8", memory: "16Gi", pods: "110" },
      allocatable: { cpu: "8", memory: "16Gi", pods: "110" },
      conditions: readyConditions(now),
      nodeInfo: {
        kubeletVersion: "v1.35.0-fairlead",
        containerRuntimeVersion: "fairlead://0.1.0",
        osImage: "Fairlead lab",
        kernelVersion: "",
        operatingSystem: "linux",
        architecture: ARCH,
      },
    },
  };
}
