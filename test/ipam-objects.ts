// Objects for tests of address blocks: a store with a pool and nodes, and allocators over it.
import { SqliteStore } from "../src/api/index.ts";
import { apiFromStore, type ClusterSource, type ObjectApi, sourceFromStore } from "../src/cluster/index.ts";
import { allocationsOf, BlockIpam, IPAM_RESOURCES, type IpamBlock, type IpamHandle, type Pool, readPools } from "../src/ipam/index.ts";
import type { KubeObject } from "../src/resources/index.ts";

export interface IpamWorld {
  readonly store: SqliteStore;
  readonly api: ObjectApi;
  readonly source: ClusterSource;
  /** An allocator, as a restarted agent opens it. */
  ipam(node: string, options?: { readonly api?: ObjectApi; readonly coolDown?: number }): BlockIpam;
  pools(): readonly Pool[];
  blocks(): readonly IpamBlock[];
  handles(): readonly IpamHandle[];
  /** Addresses that are given out, as "address handle". */
  given(): string[];
  now: number;
  close(): void;
}

export const NODES = { group: "", version: "v1", plural: "nodes" } as const;
const POOLS = { group: "projectcalico.org", version: "v3", plural: "ippools" } as const;

export function poolObject(name: string, spec: object): KubeObject {
  return { apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name }, spec } as KubeObject;
}

export function makeIpamWorld(options: {
  readonly pools: Readonly<Record<string, object>>;
  readonly nodes: Readonly<Record<string, readonly string[]>>;
}): IpamWorld {
  const store = new SqliteStore({ path: ":memory:" });
  for (const [name, spec] of Object.entries(options.pools)) store.create(POOLS, poolObject(name, spec));
  for (const [name, podCIDRs] of Object.entries(options.nodes)) {
    const annotations = { "fairlead.dev/active-network": "routed" };
    store.create(NODES, {
      apiVersion: "v1",
      kind: "Node",
      metadata: { name, annotations, labels: { name } },
      spec: { podCIDRs },
    } as KubeObject);
  }
  const api = apiFromStore(store);
  const source = sourceFromStore(store);
  const world: IpamWorld = {
    store,
    api,
    source,
    now: 1_000_000,
    ipam: (node, given = {}) => new BlockIpam({ node, api, snapshot: () => source.snapshot, now: () => world.now, coolDown: 30, ...given }),
    pools: () => readPools(source.snapshot).all,
    blocks: () => store.list<IpamBlock>(IPAM_RESOURCES.blocks).items,
    handles: () => store.list<IpamHandle>(IPAM_RESOURCES.handles).items,
    given: () => world.blocks().flatMap((block) => allocationsOf(block).map(({ address, handle }) => `${address} ${handle}`)),
    close() {
      source.close();
      store.close();
    },
  };
  return world;
}
