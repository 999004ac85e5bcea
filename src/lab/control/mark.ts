// The mark that a lab's objects carry in a cluster that is not its own.
import { createHash } from "node:crypto";
import { hostname } from "node:os";
import type { KubeObject } from "../../resources/index.ts";
import { labsDirectory } from "../paths.ts";

/** The label that says which lab an object belongs to. */
export const OWNER_LABEL = "fairlead.dev/lab";

/** Whose objects are meant: the lab's name, and a digest of the machine and directory that it lives in. */
export function ownerOf(lab: string): string {
  const place = createHash("sha256").update(`${hostname()}\0${labsDirectory()}`).digest("hex");
  return `${lab}.${place.slice(0, 8)}`;
}

/** The object with the mark. */
export function marked<T extends KubeObject>(object: T, owner: string): T {
  return { ...object, metadata: { ...object.metadata, labels: { ...object.metadata.labels, [OWNER_LABEL]: owner } } };
}
