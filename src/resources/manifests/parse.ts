// Manifests as objects: kinds known, namespaces filled in, faults told with file, line and column.
import { applyDefaults } from "../defaults.ts";
import { isMap, type JsonMap } from "../json.ts";
import { apiVersionOf, closeKinds, findKind, KINDS } from "../kinds.ts";
import type { KubeObject } from "../types.ts";
import { validate } from "../validate.ts";
import { type ManifestDocument, type ManifestProblem, readDocuments } from "./documents.ts";

export interface ManifestObject {
  /** As written, with a namespace where the kind has one. Defaults are not filled in. */
  readonly object: KubeObject;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** Where a value of the object stands; where it is not there, the nearest that holds it. */
  readonly locate: ManifestDocument["locate"];
}

export interface Manifests {
  readonly objects: readonly ManifestObject[];
  /** Objects with a problem are not among `objects`. */
  readonly problems: readonly ManifestProblem[];
}

export interface ManifestText {
  readonly text: string;
  readonly file: string;
  /** What has neither apiVersion nor kind is no manifest, and is passed over. */
  readonly lenient?: boolean;
}

interface Candidate {
  readonly value: unknown;
  readonly file: string;
  readonly locate: ManifestDocument["locate"];
}

const DEFAULT_NAMESPACE = "default";
/** Words that are kept apart from kinds by kubectl and kustomize. */
const KUSTOMIZE = "kustomize.config.k8s.io/";

/** Objects of a text of any number of YAML or JSON documents; `file` is only named in problems. Never throws. */
export function parseManifests(text: string, file: string): Manifests {
  return parseTexts([{ text, file }]);
}

/** As `parseManifests`, for texts that belong together: a kind defined by a CustomResourceDefinition in one is known in all. */
export function parseTexts(texts: readonly ManifestText[]): Manifests {
  const problems: ManifestProblem[] = [];
  const candidates: Candidate[] = [];
  for (const { text, file, lenient = false } of texts) {
    const read = readDocuments(text, file);
    problems.push(...read.problems);
    for (const document of read.documents)
      if (!lenient || !isForeign(document.value)) candidates.push(...flatten({ ...document, file }, [], problems));
  }
  const custom = customKinds(candidates);
  const objects: ManifestObject[] = [];
  for (const candidate of candidates) {
    const found = problemsOf(candidate, custom);
    problems.push(...found);
    if (found.length === 0) objects.push(finish(candidate, custom));
  }
  return { objects, problems };
}

function isForeign(value: unknown): boolean {
  return !isMap(value) || (value.apiVersion === undefined && value.kind === undefined);
}

/** The objects of a List (or DeploymentList, …), which may hold Lists; any other document as it is. */
function flatten(candidate: Candidate, path: readonly (string | number)[], problems: ManifestProblem[]): Candidate[] {
  const { value, file } = candidate;
  const locate: Candidate["locate"] = (inner) => candidate.locate([...path, ...inner]);
  const isList =
    isMap(value) && typeof value.kind === "string" && value.kind.endsWith("List") && (value.kind === "List" || "items" in value);
  if (!isList) return [{ value, file, locate }];
  if (value.items === null || value.items === undefined) return [];
  if (!Array.isArray(value.items)) {
    problems.push({
      file,
      ...locate(["items"]),
      message: `items of a ${String(value.kind)} must be a list`,
      remedy: "write its objects as a list",
    });
    return [];
  }
  // A typed list's items may leave out what the list says.
  const itemKind = value.kind === "List" ? undefined : String(value.kind).slice(0, -"List".length);
  return value.items.flatMap((item: unknown, index) => {
    const typed = isMap(item) && itemKind !== undefined ? { apiVersion: value.apiVersion, kind: itemKind, ...item } : item;
    return flatten({ value: typed, file, locate: candidate.locate }, [...path, "items", index], problems);
  });
}

/** "group/version/Kind" → namespaced, of the CustomResourceDefinitions among the objects. */
function customKinds(candidates: readonly Candidate[]): ReadonlyMap<string, boolean> {
  const kinds = new Map<string, boolean>();
  for (const { value } of candidates) {
    if (!isMap(value) || value.kind !== "CustomResourceDefinition" || !isMap(value.spec) || !isMap(value.spec.names)) continue;
    const { group, scope, versions, names } = value.spec;
    for (const version of Array.isArray(versions) ? versions : [])
      if (isMap(version)) kinds.set(`${String(group)}/${String(version.name)}/${String(names.kind)}`, scope !== "Cluster");
  }
  return kinds;
}

function problemsOf({ value, file, locate }: Candidate, custom: ReadonlyMap<string, boolean>): ManifestProblem[] {
  const problem = (path: readonly (string | number)[], message: string, remedy: string): ManifestProblem[] => [
    { file, ...locate(path), message, remedy },
  ];
  if (!isMap(value)) return problem([], "a manifest must be a map of fields", "begin it with apiVersion, kind and metadata");
  for (const field of ["apiVersion", "kind"]) {
    const given = value[field];
    if (given === undefined || given === null || given === "") return problem([], `${field} is missing`, missingRemedy(field, value));
    if (typeof given !== "string") return problem([field], `${field} must be text`, "put it in quotes");
  }
  const [apiVersion, kind] = [String(value.apiVersion), String(value.kind)];
  if (apiVersion.startsWith(KUSTOMIZE)) return problem([], "a kustomization is no object", "run `kubectl kustomize` on its folder first");
  if (!findKind(apiVersion, kind) && !custom.has(`${apiVersion}/${kind}`)) {
    const close = closeKinds(apiVersion, kind).map((info) => `${apiVersionOf(info)} ${info.kind}`);
    const remedy =
      close.length > 0 ? `did you mean ${close.join(" or ")}?` : "correct it, or add its CustomResourceDefinition to the manifests";
    return problem(["kind"], `unknown kind ${apiVersion} ${kind}`, remedy);
  }
  const metadata = isMap(value.metadata) ? value.metadata : {};
  if (metadata.name === undefined && typeof metadata.generateName === "string")
    return problem(["metadata", "generateName"], "metadata.name is missing", "give it a name: generateName works with kubectl create only");
  const errors = validate(applyDefaults(value));
  return errors.map((error) => ({
    file,
    ...locate(error.path),
    message: `${kind} ${nameOf(metadata)}: ${error.field}: ${error.message}`,
    remedy: error.reason === "FieldValueRequired" ? `add ${error.field}` : `correct ${error.field}`,
  }));
}

function missingRemedy(field: string, value: JsonMap): string {
  if (field === "kind") return "add a kind, such as `kind: Pod`";
  const known = KINDS.find((info) => info.kind === value.kind);
  return `add \`apiVersion: ${known ? apiVersionOf(known) : "v1"}\``;
}

function nameOf(metadata: JsonMap): string {
  return typeof metadata.name === "string" && metadata.name !== "" ? `"${metadata.name}"` : "without a name";
}

function finish({ value, file, locate }: Candidate, custom: ReadonlyMap<string, boolean>): ManifestObject {
  const object = value as KubeObject;
  const namespaced = findKind(object.apiVersion, object.kind)?.namespaced ?? custom.get(`${object.apiVersion}/${object.kind}`) ?? true;
  const { namespace, ...metadata } = object.metadata;
  const placed = namespaced ? { ...metadata, namespace: namespace || DEFAULT_NAMESPACE } : metadata;
  return { object: { ...object, metadata: placed }, file, line: locate([]).line, locate };
}
