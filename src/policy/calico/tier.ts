// Reads Calico's Tier.
import type { KubeObject } from "../../resources/index.ts";
import type { Tier } from "../rules.ts";
import { specOf } from "./objects.ts";

/** A tier without an order is last. What can't be read is last, or denies, with a remark. */
export function readTier(object: KubeObject, remarks: string[]): Tier {
  const { name } = object.metadata;
  const { order, defaultAction } = specOf(object);
  const remark = (path: string, says: string) => remarks.push(`Tier ${name}: ${path}: ${says}`);
  const given = order === undefined || order === null ? Number.MAX_VALUE : order;
  const valid = typeof given === "number" && Number.isFinite(given);
  if (!valid) remark("spec.order", `${JSON.stringify(order)} is no number; the tier stands last`);
  if (defaultAction !== undefined && defaultAction !== "Deny" && defaultAction !== "Pass")
    remark("spec.defaultAction", `${JSON.stringify(defaultAction)} is neither Deny nor Pass; it is taken as Deny`);
  return { name, order: valid ? given : Number.MAX_VALUE, end: defaultAction === "Pass" ? "pass" : "deny" };
}
