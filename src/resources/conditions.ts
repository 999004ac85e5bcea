// What an object's status says of itself.
import type { Condition } from "./types.ts";

/** Whether a pod or node says that it is ready. */
export function isReady({ status }: { readonly status?: { readonly conditions?: readonly Condition[] } | undefined }): boolean {
  return status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;
}
