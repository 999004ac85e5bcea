// Manifests: YAML or JSON files to objects, with what is wrong and where.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { LineCounter, parseAllDocuments } from "yaml";
import { FairleadError, messageOf } from "../base/index.ts";
import type { KubeObject } from "./types.ts";

export interface ManifestObject {
  readonly object: KubeObject;
  readonly file: string;
  readonly line: number;
}

export interface ManifestProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

export interface Manifests {
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly ManifestProblem[];
}

/** Objects without a namespace. */
const CLUSTER_WIDE = new Set([
  "Namespace",
  "Node",
  "PersistentVolume",
  "ClusterRole",
  "ClusterRoleBinding",
  "StorageClass",
  "IngressClass",
  "PriorityClass",
  "CustomResourceDefinition",
  "GlobalNetworkPolicy",
]);

/** Reads the documents of one text. `lenient`: what has neither apiVersion nor kind is no manifest, and is passed over (a values or expectations file that lies beside them). */
export function parseManifests(text: string, file: string, options: { readonly lenient?: boolean } = {}): Manifests {
  const lines = new LineCounter();
  const objects: ManifestObject[] = [];
  const problems: ManifestProblem[] = [];
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  for (const document of Array.isArray(documents) ? documents : []) {
    const at = (offset: number) => lines.linePos(offset);
    for (const error of document.errors) {
      const { line, col } = at(error.pos[0]);
      problems.push({ file, line, column: col, message: error.message });
    }
    if (document.errors.length > 0) continue;
    const { line } = at(document.contents?.range?.[0] ?? 0);
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 1000 });
    } catch (error) {
      problems.push({ file, line, column: 1, message: messageOf(error) });
      continue;
    }
    if (value === null || value === undefined) continue;
    if (options.lenient && isForeign(value)) continue;
    for (const object of itemsOf(value)) {
      const problem = shapeProblem(object);
      if (problem === undefined) objects.push({ object: inNamespace(object as KubeObject), file, line });
      else problems.push({ file, line, column: 1, message: problem });
    }
  }
  return { objects, problems };
}

function isForeign(value: unknown): boolean {
  return typeof value === "object" && value !== null && !("apiVersion" in value) && !("kind" in value);
}

function itemsOf(value: unknown): unknown[] {
  const { kind, items } = value as { kind?: unknown; items?: unknown };
  return typeof kind === "string" && kind.endsWith("List") && Array.isArray(items) ? items : [value];
}

function shapeProblem(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "a manifest is an object";
  const { apiVersion, kind, metadata } = value as Record<string, unknown>;
  if (typeof apiVersion !== "string") return "apiVersion is missing";
  if (typeof kind !== "string") return "kind is missing";
  const { name, generateName } = (metadata ?? {}) as Record<string, unknown>;
  return typeof name === "string" || typeof generateName === "string" ? undefined : `${kind} has no metadata.name`;
}

function inNamespace(object: KubeObject): KubeObject {
  if (object.metadata.namespace !== undefined || CLUSTER_WIDE.has(object.kind)) return object;
  return { ...object, metadata: { ...object.metadata, namespace: "default" } };
}

/** Reads files and folders (recursively, in order of name). @throws FairleadError `no-manifest` for a path that is not there */
export function readManifests(paths: readonly string[]): Manifests {
  const parts = paths.flatMap((path) =>
    filesOf(path).map((file) => parseManifests(readFileSync(file, "utf8"), file, { lenient: file !== path })),
  );
  return { objects: parts.flatMap((part) => part.objects), problems: parts.flatMap((part) => part.problems) };
}

function filesOf(path: string): string[] {
  let isFolder: boolean;
  try {
    isFolder = statSync(path).isDirectory();
  } catch (cause) {
    throw new FairleadError("no-manifest", "no such file or folder", { where: path, cause });
  }
  if (!isFolder) return [path];
  return readdirSync(path)
    .sort()
    .map((name) => join(path, name))
    .flatMap((inner) => (statSync(inner).isDirectory() ? filesOf(inner) : /\.(ya?ml|json)$/.test(inner) ? [inner] : []));
}
