// The objects, in one SQLite file and in memory: every write is one transaction, then told to the watchers.

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { isDeepStrictEqual } from "node:util";
import { FairleadError } from "../base/index.ts";
import type { KubeObject } from "../resources/index.ts";
import type { AdmissionContext, AdmissionHook, MutableObject } from "./admission.ts";
import { ApiError, alreadyExists, badRequest, conflict, forbidden, invalid, notFound, type StatusCause } from "./errors.ts";
import { ObjectIndex } from "./object-index.ts";
import { groupVersionOf, type Resource, ResourceTable } from "./resource-table.ts";
import { objectFilter } from "./selectors.ts";
import { dropText, keepText } from "./serialized.ts";
import type { DeleteOptions, ListOptions, ObjectStore, ResourceRef, UpdateOptions, WatchEvent, WriteOptions } from "./store.ts";
import { adopt, countGeneration, graceOf, isHeld, metadataCauses, prepareCreate, prepareUpdate } from "./strategy.ts";
import { type Change, WatchHub } from "./watch-hub.ts";

/** What the kinds themselves ask for: defaults in place, and faults. */
export interface KindRules {
  readonly applyDefaults: (object: MutableObject, old: KubeObject | undefined, resource: Resource) => void;
  readonly validate: (object: MutableObject, old: KubeObject | undefined, resource: Resource) => readonly StatusCause[];
}

export interface SqliteStoreOptions {
  /** A file, or ":memory:". */
  readonly path: string;
  readonly resources?: ResourceTable;
  readonly hooks?: readonly AdmissionHook[];
  readonly rules?: KindRules;
  /** How many changes can be resumed from at least. */
  readonly historySize?: number;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
}

const schema = `
  CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL);
  INSERT OR IGNORE INTO counter VALUES (1, 1);
`;
const modified = "the object has been modified; please apply your changes to the latest version and try again";
const namespaces: ResourceRef = { group: "", version: "v1", plural: "namespaces" };

interface Tracking {
  readonly track?: WriteOptions["track"];
}

interface Admitted {
  readonly done: (() => void)[];
  readonly undo: (() => void)[];
}

export class SqliteStore implements ObjectStore {
  readonly resources: ResourceTable;
  readonly #hooks: AdmissionHook[];
  readonly #rules: KindRules | undefined;
  readonly #clock: () => number;
  readonly #db: DatabaseSync;
  readonly #index = new ObjectIndex();
  readonly #hub: WatchHub;
  readonly #put: StatementSync;
  readonly #remove: StatementSync;
  readonly #count: StatementSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  #version: number;
  #admitting = false;

  /** Opens or makes the file and reads all objects. @throws FairleadError `store-unreadable` */
  constructor(options: SqliteStoreOptions) {
    this.resources = options.resources ?? new ResourceTable();
    this.#hooks = [...(options.hooks ?? [])];
    this.#rules = options.rules;
    this.#clock = options.clock ?? Date.now;
    try {
      this.#db = new DatabaseSync(options.path);
      this.#db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
      this.#db.exec(schema);
      this.#version = Number(this.#db.prepare("SELECT version FROM counter").get()?.version);
      for (const row of this.#db.prepare("SELECT resource, body FROM objects").iterate()) {
        const text = String(row.body);
        const object = JSON.parse(text) as KubeObject;
        keepText(object, text);
        this.#index.put(String(row.resource), object);
      }
    } catch (cause) {
      const remedy = "move the file away to begin with an empty cluster";
      throw new FairleadError("store-unreadable", "cannot open the store", { where: options.path, remedy, cause });
    }
    this.#put = this.#db.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)");
    this.#remove = this.#db.prepare("DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?");
    this.#count = this.#db.prepare("UPDATE counter SET version = ?");
    this.#begin = this.#db.prepare("BEGIN IMMEDIATE");
    this.#commit = this.#db.prepare("COMMIT");
    this.#hub = new WatchHub(this.#version, options.historySize ?? 10_000);
  }

  get resourceVersion(): string {
    return String(this.#version);
  }

  /** Adds a hook behind those present. */
  addHook(hook: AdmissionHook): void {
    this.#hooks.push(hook);
  }

  close(): void {
    this.#db.close();
  }

  get<T extends KubeObject>(ref: ResourceRef, namespace: string | undefined, name: string): T | undefined {
    const resource = this.#resource(ref);
    return this.#index.get(keyOf(resource), resource.namespaced ? (namespace ?? "") : "", name) as T | undefined;
  }

  list<T extends KubeObject>(ref: ResourceRef, options: ListOptions = {}): { items: readonly T[]; resourceVersion: string } {
    const resource = this.#resource(ref);
    const filter = objectFilter(options.labelSelector, options.fieldSelector);
    const all = this.#index.list(keyOf(resource), resource.namespaced ? options.namespace : undefined);
    return { items: (filter ? all.filter(filter) : all) as readonly T[], resourceVersion: this.resourceVersion };
  }

  create<T extends KubeObject>(ref: ResourceRef, given: T, options: WriteOptions = {}): T {
    const resource = this.#resource(ref);
    const object = adopt(resource, given);
    prepareCreate(resource, object, this.#now());
    if (resource.namespaced) this.#checkNamespace(resource, object);
    if (this.get(resource, object.metadata.namespace, object.metadata.name)) throw alreadyExists(resource, object.metadata.name);
    return this.#write(resource, object, {
      operation: "create",
      old: undefined,
      subresource: undefined,
      dryRun: options.dryRun ?? false,
      track: options.track,
    }) as T;
  }

  update<T extends KubeObject>(ref: ResourceRef, given: T, options: UpdateOptions = {}): T {
    const resource = this.#resource(ref);
    const object = adopt(resource, given);
    const { name, namespace } = object.metadata;
    const old = this.get(resource, namespace, name);
    if (!old) throw notFound(resource, name);
    const version = object.metadata.resourceVersion;
    if (version !== undefined && version !== "" && version !== old.metadata.resourceVersion) throw conflict(resource, name, modified);
    prepareUpdate(resource, object, old, options.subresource);
    const { subresource, dryRun = false, track } = options;
    const write = { operation: "update", old, subresource, dryRun, track } as const;
    return this.#write(resource, object, write) as T;
  }

  delete(ref: ResourceRef, namespace: string | undefined, name: string, options: DeleteOptions = {}): KubeObject {
    const resource = this.#resource(ref);
    const old = this.get(resource, namespace, name);
    if (!old) throw notFound(resource, name);
    checkPreconditions(resource, old, options);
    const grace = graceOf(resource, old, options.gracePeriodSeconds);
    const finalizers = new Set(old.metadata.finalizers);
    if (options.propagationPolicy === "Foreground") finalizers.add("foregroundDeletion");
    if (options.propagationPolicy === "Orphan") finalizers.add("orphan");
    const write = { operation: "delete", old, subresource: undefined, dryRun: options.dryRun ?? false } as const;
    if (grace === 0 && finalizers.size === 0 && !isHeld(old)) return this.#write(resource, copyOf(old), write, true);
    const graceBefore = old.metadata.deletionGracePeriodSeconds;
    if (
      old.metadata.deletionTimestamp !== undefined &&
      (graceBefore ?? 0) <= grace &&
      finalizers.size === (old.metadata.finalizers?.length ?? 0)
    )
      return old;
    const object = copyOf(old);
    const leave = graceBefore === undefined ? grace : Math.min(graceBefore, grace);
    object.metadata.deletionTimestamp = this.#now(leave);
    object.metadata.deletionGracePeriodSeconds = leave;
    if (finalizers.size > 0) object.metadata.finalizers = [...finalizers];
    if (old.metadata.generation) object.metadata.generation = old.metadata.generation + 1;
    if (resource.kind === "Namespace") object.status = { ...((object.status as object | undefined) ?? {}), phase: "Terminating" };
    return this.#write(resource, object, write);
  }

  watch(ref: ResourceRef, options: ListOptions & { readonly resourceVersion?: string }, listener: (event: WatchEvent) => void): () => void {
    const resource = this.#resource(ref);
    const filter = objectFilter(options.labelSelector, options.fieldSelector);
    const namespace = resource.namespaced ? options.namespace : undefined;
    const fresh = options.resourceVersion === undefined || options.resourceVersion === "" || options.resourceVersion === "0";
    const after = fresh ? this.#version : Number(options.resourceVersion);
    if (!Number.isSafeInteger(after) || after < 0) throw badRequest(`Invalid value: "${options.resourceVersion}": not a resource version`);
    const present = fresh ? this.list(resource, options).items : [];
    const stop = this.#hub.watch({ resource: keyOf(resource), namespace, filter, listener, after });
    for (const object of present) listener({ type: "ADDED", object });
    return stop;
  }

  #resource(ref: ResourceRef): Resource {
    const resource = this.resources.find(ref.group, ref.version, ref.plural);
    if (!resource)
      throw new ApiError("NotFound", `the server could not find the requested resource ${ref.plural} in ${groupVersionOf(ref)}`);
    return resource;
  }

  #now(seconds = 0): string {
    return new Date(this.#clock() + seconds * 1000).toISOString().replace(/\.\d+Z$/, "Z");
  }

  #checkNamespace(resource: Resource, object: MutableObject): void {
    const { namespace, name } = object.metadata;
    if (!namespace) throw badRequest(`an empty namespace may not be set during creation of ${resource.kind} "${name}"`);
    const found = this.get(namespaces, undefined, namespace);
    if (!found) throw notFound(namespaces, namespace);
    if (found.metadata.deletionTimestamp !== undefined) {
      throw forbidden(resource, name, `unable to create new content in namespace ${namespace} because it is being terminated`, [
        { reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated`, field: "metadata.namespace" },
      ]);
    }
  }

  #write(
    resource: Resource,
    object: MutableObject,
    write: Pick<AdmissionContext, "operation" | "old" | "subresource" | "dryRun"> & Pick<Tracking, "track">,
    gone = false,
  ): KubeObject {
    if (this.#admitting)
      throw new FairleadError("write-in-hook", "an admission hook may not write to the store", { remedy: "write from a watcher" });
    const admitted: Admitted = { done: [], undo: [] };
    let committed = false;
    this.#admitting = true;
    try {
      this.#admit(resource, object, write, admitted);
      const { old } = write;
      const owners = write.track?.(old, object as KubeObject);
      if (owners) object.metadata.managedFields = owners;
      const leaves =
        gone || (old?.metadata.deletionTimestamp !== undefined && !isHeldPod(resource, object) && !isHeld(object as KubeObject));
      if (write.operation === "update" && old && !leaves) {
        countGeneration(resource, object, old);
        object.metadata.resourceVersion = old.metadata.resourceVersion;
        // A write that changes nothing keeps its version and wakes nobody.
        if (isDeepStrictEqual(object, old)) return old;
      }
      if (write.dryRun) return object as KubeObject;
      const version = this.#version + 1;
      object.metadata.resourceVersion = String(version);
      this.#store(resource, object, version, leaves);
      committed = true;
      this.#version = version;
      const stored = object as KubeObject;
      if (leaves) this.#index.remove(keyOf(resource), object.metadata.namespace ?? "", object.metadata.name);
      else this.#index.put(keyOf(resource), stored);
      for (const done of admitted.done) done();
      const type: Change["type"] = leaves ? "DELETED" : old ? "MODIFIED" : "ADDED";
      this.#admitting = false;
      this.#hub.publish({ resource: keyOf(resource), version, type, object: stored, previous: old });
      if (old) dropText(old);
      if (leaves) dropText(stored);
      return stored;
    } finally {
      this.#admitting = false;
      if (!committed) for (const undo of admitted.undo.reverse()) undo();
    }
  }

  #admit(
    resource: Resource,
    object: MutableObject,
    write: Pick<AdmissionContext, "operation" | "old" | "subresource" | "dryRun">,
    admitted: Admitted,
  ): void {
    const context: AdmissionContext = {
      resource,
      ...write,
      store: this,
      onRollback: (undo) => admitted.undo.push(undo),
      onCommit: (done) => admitted.done.push(done),
    };
    const hooks = this.#hooks.filter((hook) => hook.appliesTo(resource, write.operation));
    const changes = write.operation !== "delete" && write.subresource === undefined;
    if (changes) {
      this.#rules?.applyDefaults(object, write.old, resource);
      // Before the hooks, so that none of them meets a shape that makes no sense.
      const causes = [...metadataCauses(object), ...(this.#rules?.validate(object, write.old, resource) ?? [])];
      if (causes.length > 0) throw invalid(resource.group, resource.kind, object.metadata.name, causes);
    }
    for (const hook of hooks) hook.mutate?.(object, context);
    for (const hook of hooks) hook.validate?.(object as KubeObject, context);
  }

  #store(resource: Resource, object: MutableObject, version: number, leaves: boolean): void {
    const { namespace = "", name } = object.metadata;
    const text = JSON.stringify(object);
    this.#begin.run();
    try {
      if (leaves) this.#remove.run(keyOf(resource), namespace, name);
      else this.#put.run(keyOf(resource), namespace, name, text);
      this.#count.run(version);
      this.#commit.run();
      keepText(object as KubeObject, text);
    } catch (thrown) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw new ApiError("InternalError", `cannot store ${resource.plural} "${name}"`, undefined, thrown);
    }
  }
}

function keyOf(resource: Resource): string {
  return `${resource.group}/${resource.plural}`;
}

function copyOf(object: KubeObject): MutableObject {
  return JSON.parse(JSON.stringify(object)) as MutableObject;
}

/** A pod in its grace period stays until its kubelet deletes it with grace 0. */
function isHeldPod(resource: Resource, object: MutableObject): boolean {
  return resource.kind === "Pod" && Number(object.metadata.deletionGracePeriodSeconds ?? 0) > 0;
}

function checkPreconditions(resource: Resource, old: KubeObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { name } = old.metadata;
  if (uid !== undefined && uid !== old.metadata.uid) {
    throw conflict(resource, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`);
  }
  if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
    throw conflict(
      resource,
      name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${old.metadata.resourceVersion})`,
    );
  }
}
