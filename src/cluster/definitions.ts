// The definitions that a cluster needs for all that the network is calculated from.
import { type CustomResourceDefinition, definitionsOf, type KindInfo } from "../resources/index.ts";
import { NETWORK_RESOURCES } from "./source.ts";

/** Calico's store, which has all its kinds where its API server is not. Only addresses are kept there alone. */
export const CALICO_STORE = "crd.projectcalico.org";
const ADDRESSES: ReadonlySet<string> = new Set(["ipamblocks", "ipamhandles", "ipamconfigs", "blockaffinities"]);

const READ = new Set(NETWORK_RESOURCES.map(({ group, plural }) => `${plural}.${group}`));

/** CustomResourceDefinitions of the kinds that are read (policies, pools, BGP) or kept (blocks of addresses). */
export function networkDefinitions(): CustomResourceDefinition[] {
  return definitionsOf(({ group, plural }: KindInfo) => (group === CALICO_STORE ? ADDRESSES.has(plural) : READ.has(`${plural}.${group}`)));
}
