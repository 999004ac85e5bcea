// The resources that the lab itself reads and writes.
import { REF, type ResourceRef } from "../api/index.ts";

const calico = (plural: string): ResourceRef => ({ group: "crd.projectcalico.org", version: "v1", plural });

export const REFS = {
  ...REF,
  ipPools: { group: "projectcalico.org", version: "v3", plural: "ippools" },
  ipamBlocks: calico("ipamblocks"),
  ipamHandles: calico("ipamhandles"),
  blockAffinities: calico("blockaffinities"),
} as const satisfies Record<string, ResourceRef>;
