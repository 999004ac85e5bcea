// The resources that the lab itself reads and writes.
import { REF, type ResourceRef } from "../api/index.ts";

export const REFS = {
  ...REF,
  ipPools: { group: "projectcalico.org", version: "v3", plural: "ippools" },
} as const satisfies Record<string, ResourceRef>;
