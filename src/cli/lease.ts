// Who does what one does for the whole cluster: named by a Lease.

/** Whoever holds it writes what is written once for the cluster: load balancers' addresses, Events about Services. */
export const LEASE = {
  resource: { group: "coordination.k8s.io", version: "v1", plural: "leases" },
  namespace: "kube-system",
  name: "fairlead",
} as const;
