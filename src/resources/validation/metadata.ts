// Metadata, label maps and label selectors: what every kind has.
import { isMap, textOf } from "../json.ts";
import { checkText, keyFault, label1035Fault, labelFault, labelValueFault, subdomainFault } from "./names.ts";
import { type FieldError, Place } from "./place.ts";

/** Bytes that all annotations of an object may take together. */
const MAX_ANNOTATIONS = 256 * 1024;
const LABEL_NAMED = new Set(["v1/Namespace"]);
/** Names that stand first in DNS names of pods and Services. */
const LABEL_1035_NAMED = new Set(["v1/Service"]);
const PATH_NAMED = new Set(["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]);

/** Why a kind's object may not have this name; undefined if it may. */
function nameFault(apiVersion: string, kind: string, name: string): string | undefined {
  if (PATH_NAMED.has(kind))
    return name === "." || name === ".." || /[/%]/.test(name) ? 'may not be ".", ".." or contain "/" or "%"' : undefined;
  if (LABEL_NAMED.has(`${apiVersion}/${kind}`)) return labelFault(name);
  if (LABEL_1035_NAMED.has(`${apiVersion}/${kind}`)) return label1035Fault(name);
  return subdomainFault(name);
}

/** Faults of the metadata of an object of any kind. */
export function validateMetadata(object: unknown): FieldError[] {
  const errors: FieldError[] = [];
  const root = new Place(object, errors);
  const metadata = root.at("metadata");
  const { apiVersion, kind } = isMap(object) ? object : {};
  const name = metadata.at("name");
  if (!metadata.isMap() || !name.require("name or generateName is required")) {
    if (!metadata.present) name.required("name or generateName is required");
    return errors;
  }
  checkText(name, (text) => nameFault(textOf(apiVersion), textOf(kind), text));
  if (metadata.at("namespace").value !== "") checkText(metadata.at("namespace"), labelFault);
  checkLabels(metadata.at("labels"));
  checkAnnotations(metadata.at("annotations"));
  for (const finalizer of metadata.at("finalizers").items()) checkText(finalizer, keyFault);
  for (const owner of metadata.at("ownerReferences").items()) {
    if (!owner.isMap()) continue;
    for (const field of ["apiVersion", "kind", "name", "uid"]) if (owner.at(field).require()) owner.at(field).text();
  }
  return errors;
}

/** A map of labels, or what selects by equality with one. */
export function checkLabels(labels: Place): void {
  for (const key of labels.keys()) {
    const fault = keyFault(key);
    if (fault) labels.key(key).invalid(fault, key);
    if (labels.key(key).present) checkText(labels.key(key), labelValueFault);
  }
}

function checkAnnotations(annotations: Place): void {
  let size = 0;
  for (const key of annotations.keys()) {
    const fault = keyFault(key.toLowerCase());
    if (fault) annotations.key(key).invalid(fault, key);
    size += key.length + (annotations.key(key).text()?.length ?? 0);
  }
  if (size > MAX_ANNOTATIONS) annotations.invalid(`must have at most ${MAX_ANNOTATIONS} bytes in all`, `${size} bytes`);
}

/** A label selector. An empty one selects all, an absent one is not checked. */
export function checkSelector(selector: Place): void {
  if (!selector.isMap()) return;
  checkLabels(selector.at("matchLabels"));
  for (const expression of selector.at("matchExpressions").items()) {
    if (!expression.isMap()) continue;
    const key = expression.at("key");
    if (key.require()) checkText(key, keyFault);
    const operator = expression.at("operator");
    const values = expression.at("values");
    const word = operator.require() ? operator.oneOf(["In", "NotIn", "Exists", "DoesNotExist"]) : undefined;
    const given = values.items();
    if ((word === "In" || word === "NotIn") && given.length === 0) values.required(`must be given where the operator is ${word}`);
    if ((word === "Exists" || word === "DoesNotExist") && given.length > 0)
      values.forbidden(`may not be given where the operator is ${word}`);
    for (const value of given) checkText(value, labelValueFault);
  }
}
