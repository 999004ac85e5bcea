// What wakes a controller: its objects, and those that they control.
import type { ResourceRef } from "../store.ts";
import { type ControllerContext, controllerOf, keyOf } from "./context.ts";
import type { WorkQueue } from "./queue.ts";

/** Adds an object's key to the queue when it changes, and when something of a kind in `owned` changes that it controls. Gives the objects that are there: uid → key. */
export function watchOwners(
  context: ControllerContext,
  owners: ResourceRef,
  owned: readonly ResourceRef[],
  queue: WorkQueue,
): ReadonlyMap<string, string> {
  const keys = new Map<string, string>();
  context.watch(owners, ({ type, object }) => {
    if (type === "DELETED") keys.delete(object.metadata.uid ?? "");
    else keys.set(object.metadata.uid ?? "", keyOf(object));
    queue.add(keyOf(object));
  });
  for (const kind of owned)
    context.watch(kind, ({ object }) => {
      const key = keys.get(controllerOf(object) ?? "");
      if (key !== undefined) queue.add(key);
    });
  return keys;
}
