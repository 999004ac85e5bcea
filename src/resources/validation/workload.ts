// Workloads: what makes pods from a template.
import { isDeepStrictEqual } from "node:util";
import { Cron } from "croner";
import { isMap, textOf } from "../json.ts";
import { compileSelector } from "../selectors.ts";
import type { LabelSelector } from "../types.ts";
import { checkLabels, checkSelector } from "./metadata.ts";
import { type FieldError, Place } from "./place.ts";
import { checkPodSpec } from "./pod.ts";

/** Deployments, ReplicaSets, DaemonSets and StatefulSets. */
export function checkWorkload(workload: Place, old: unknown): void {
  const spec = workload.at("spec");
  if (!spec.present) {
    spec.required();
    return;
  }
  if (!spec.isMap()) return;
  for (const field of ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"]) spec.at(field).notNegative();
  checkSelectorOf(spec, old);
  checkTemplate(spec.at("template"), ["Always"]);
  checkStrategy(workload, spec);
}

/** A ReplicationController: its selector is the labels themselves. */
export function checkReplicationController(controller: Place): void {
  const spec = controller.at("spec");
  if (!spec.present) spec.required();
  if (!spec.isMap()) return;
  spec.at("replicas").notNegative();
  checkTemplate(spec.at("template"), ["Always"]);
  const selector = spec.at("selector");
  if (!selector.present) {
    selector.required();
    return;
  }
  if (!selector.isMap()) return;
  checkLabels(selector);
  const labels = labelsOf(spec.at("template").at("metadata").at("labels").value);
  if (Object.entries(labelsOf(selector.value)).some(([key, value]) => labels[key] !== value))
    spec.at("template").at("metadata").at("labels").invalid("`selector` does not match template `labels`", labels);
}

function checkSelectorOf(spec: Place, old: unknown): void {
  const selector = spec.at("selector");
  if (!selector.present) {
    selector.required();
    return;
  }
  checkSelector(selector);
  if (!selector.isMap()) return;
  if (isEmpty(selector)) {
    selector.invalid("empty selector is invalid: it would select every pod of the namespace");
    return;
  }
  const labels = spec.at("template").at("metadata").at("labels");
  if (isSoundSelector(selector.value) && !compileSelector(selector.value as LabelSelector)(labelsOf(labels.value)))
    labels.invalid("`selector` does not match template `labels`", labels.value ?? {});
  const before = isMap(old) && isMap(old.spec) ? old.spec.selector : undefined;
  if (before !== undefined && !isDeepStrictEqual(before, selector.value)) selector.invalid("field is immutable");
}

function isEmpty(selector: Place): boolean {
  const labels = selector.at("matchLabels").value;
  const expressions = selector.at("matchExpressions").value;
  return (!isMap(labels) || Object.keys(labels).length === 0) && (!Array.isArray(expressions) || expressions.length === 0);
}

function isSoundSelector(selector: unknown): boolean {
  const errors: FieldError[] = [];
  checkSelector(new Place(selector, errors));
  return errors.length === 0;
}

function labelsOf(value: unknown): Record<string, string> {
  return isMap(value) ? Object.fromEntries(Object.entries(value).map(([key, label]) => [key, textOf(label)])) : {};
}

/** A template of pods that restart in one of these ways. */
function checkTemplate(template: Place, restarts: readonly string[]): void {
  if (!template.present) {
    template.required();
    return;
  }
  if (!template.isMap()) return;
  const metadata = template.at("metadata");
  if (metadata.isMap()) checkLabels(metadata.at("labels"));
  const spec = template.at("spec");
  if (!spec.present) spec.at("containers").required();
  else checkPodSpec(spec);
  const restart = spec.at("restartPolicy");
  if (["Always", "OnFailure", "Never"].includes(textOf(restart.value)) && !restarts.includes(textOf(restart.value)))
    restart.oneOf(restarts);
}

function checkStrategy(workload: Place, spec: Place): void {
  const deployment = workload.at("kind").value === "Deployment";
  const strategy = spec.at(deployment ? "strategy" : "updateStrategy");
  if (!strategy.isMap()) return;
  const type = strategy.at("type").oneOf(deployment ? ["RollingUpdate", "Recreate"] : ["RollingUpdate", "OnDelete"]);
  const bounds = strategy.at("rollingUpdate");
  if (!bounds.isMap()) return;
  if (type === "Recreate") {
    bounds.forbidden("may not be specified when strategy `type` is 'Recreate'");
    return;
  }
  for (const field of ["maxSurge", "maxUnavailable"]) checkBound(bounds.at(field));
  bounds.at("partition").notNegative();
  const [surge, unavailable] = [bounds.at("maxSurge").value, bounds.at("maxUnavailable").value];
  const isNone = (value: unknown) => value === 0 || value === "0%" || value === "0";
  if (isNone(surge) && isNone(unavailable)) bounds.at("maxUnavailable").invalid("may not be 0 when `maxSurge` is 0");
}

function checkBound(bound: Place): void {
  if (typeof bound.value !== "string") bound.notNegative();
  else if (!/^\d{1,3}%$/.test(bound.value)) bound.invalid("must be a whole number, or a percentage such as 25%");
}

/** A Job. */
export function checkJob(job: Place, old: unknown): void {
  checkJobSpec(job.at("spec"));
  const before = isMap(old) && isMap(old.spec) ? old.spec : undefined;
  const selector = job.at("spec").at("selector");
  if (before?.selector !== undefined && selector.present && !isDeepStrictEqual(before.selector, selector.value))
    selector.invalid("field is immutable");
}

/** A CronJob. The schedule is looked at by its shape only. */
export function checkCronJob(job: Place): void {
  const spec = job.at("spec");
  if (!spec.present) spec.required();
  if (!spec.isMap()) return;
  const schedule = spec.at("schedule");
  if (schedule.require()) {
    const text = schedule.text()?.trim();
    if (text !== undefined && !/^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)$|^(\S+\s+){4}\S+$/.test(text))
      schedule.invalid("must be five fields (minute, hour, day, month, weekday), or a word such as @hourly");
    else if (text !== undefined && !isSchedule(text)) schedule.invalid("a field of it is out of its range");
  }
  spec.at("concurrencyPolicy").oneOf(["Allow", "Forbid", "Replace"]);
  checkJobSpec(spec.at("jobTemplate").at("spec"));
}

function isSchedule(text: string): boolean {
  try {
    new Cron(text, { paused: true });
    return true;
  } catch {
    return /^@every /.test(text);
  }
}

function checkJobSpec(spec: Place): void {
  if (!spec.present) {
    spec.required();
    return;
  }
  if (!spec.isMap()) return;
  for (const field of ["completions", "parallelism", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"])
    spec.at(field).notNegative();
  if (spec.at("completionMode").oneOf(["NonIndexed", "Indexed"]) === "Indexed" && !spec.at("completions").present)
    spec.at("completions").required("must be given where `completionMode` is Indexed");
  if (spec.at("selector").present) checkSelector(spec.at("selector"));
  checkTemplate(spec.at("template"), ["OnFailure", "Never"]);
}
