// A pod's volumes as directories of the host: emptyDir, configMap, secret, downwardAPI, projected; and where containers see them.
import { chmodSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import type { Container, Pod } from "../../resources/index.ts";
import type { VolumeMount } from "../workload/sandbox.ts";
import { fieldOf, findData, MissingReference, type References, resourceOf } from "./references.ts";

interface Item {
  readonly key: string;
  readonly path: string;
  readonly mode?: number;
}

interface DataSource {
  readonly name?: string;
  readonly secretName?: string;
  readonly items?: readonly Item[];
  readonly defaultMode?: number;
  readonly optional?: boolean;
}

interface FieldItem {
  readonly path: string;
  readonly mode?: number;
  readonly fieldRef?: { readonly fieldPath: string };
  readonly resourceFieldRef?: { readonly resource: string; readonly containerName?: string; readonly divisor?: string };
}

interface Projection {
  readonly configMap?: DataSource;
  readonly secret?: DataSource;
  readonly downwardAPI?: { readonly items?: readonly FieldItem[] };
  readonly serviceAccountToken?: TokenWish & { readonly path: string };
}

interface Volume extends Projection {
  readonly name: string;
  readonly projected?: { readonly sources?: readonly Projection[]; readonly defaultMode?: number };
  readonly hostPath?: { readonly path: string };
  readonly [kind: string]: unknown;
}

/** Whom a service account's token is for, and how long it holds. */
export interface TokenWish {
  readonly audience?: string;
  readonly expirationSeconds?: number;
}

/** A token that was asked for before. */
export type FindToken = (wish: TokenWish) => string | undefined;

/** The tokens that a pod's volumes hold. */
export function tokensOf(pod: Pod): TokenWish[] {
  const volumes = (pod.spec.volumes ?? []) as readonly Volume[];
  return volumes.flatMap(({ projected }) => (projected?.sources ?? []).flatMap(({ serviceAccountToken }) => serviceAccountToken ?? []));
}

const DEFAULT_MODE = 0o644;

/** Whether a volume's files follow objects, and so are written again when these change. */
export function followsObjects(volume: unknown): boolean {
  const { configMap, secret, projected, downwardAPI } = volume as Volume;
  return [configMap, secret, projected, downwardAPI].some((kind) => kind !== undefined);
}

/**
 * Makes or refreshes one volume under `directory`. What the lab has no storage for (claims, hostPath, CSI) is an empty directory
 * of the pod's own. @throws MissingReference
 */
export function writeVolume(volume: unknown, directory: string, pod: Pod, references: References & { readonly token: FindToken }): void {
  const given = volume as Volume;
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  if (!followsObjects(given)) {
    chmodSync(directory, 0o777);
    return;
  }
  const files = new Map<string, { readonly bytes: Buffer; readonly mode: number }>();
  const { projected } = given;
  const sources = projected ? (projected.sources ?? []) : [given];
  for (const source of sources) collect(files, source, { pod, references, mode: projected?.defaultMode ?? DEFAULT_MODE });
  for (const [path, { bytes, mode }] of files) {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    // A reader sees the old or the new file, never half of one.
    writeFileSync(`${file}.new`, bytes, { mode });
    chmodSync(`${file}.new`, mode);
    renameSync(`${file}.new`, file);
  }
}

interface Collecting {
  readonly pod: Pod;
  readonly references: References & { readonly token: FindToken };
  readonly mode: number;
}

function collect(files: Map<string, { bytes: Buffer; mode: number }>, source: Projection, { pod, references, mode }: Collecting): void {
  const put = (path: string, bytes: Buffer, own?: number) => files.set(inside(path), { bytes, mode: own ?? mode });
  for (const [kind, data] of [["ConfigMap", source.configMap] as const, ["Secret", source.secret] as const]) {
    if (!data) continue;
    const name = data.secretName ?? data.name ?? "";
    const found = findData(references, kind, name, data.optional ?? false);
    for (const item of data.items ?? [...(found?.keys() ?? [])].map((key): Item => ({ key, path: key }))) {
      const bytes = found?.get(item.key);
      if (bytes) put(item.path, bytes, item.mode ?? data.defaultMode);
      else if (!data.optional) throw new MissingReference(`references non-existent key: ${item.key} in ${kind} ${name}`);
    }
  }
  for (const { path, mode: own, fieldRef, resourceFieldRef } of source.downwardAPI?.items ?? []) {
    const of = pod.spec.containers.find(({ name }) => name === resourceFieldRef?.containerName);
    const text = fieldRef ? fieldOf(pod, fieldRef.fieldPath, references) : resourceFieldRef ? resourceOf(of, resourceFieldRef) : undefined;
    if (text !== undefined) put(path, Buffer.from(text), own);
  }
  if (source.serviceAccountToken) {
    const token = references.token(source.serviceAccountToken);
    if (token !== undefined) put(source.serviceAccountToken.path, Buffer.from(token), 0o600);
  }
}

/** A relative path that does not lead out. @throws MissingReference */
function inside(path: string): string {
  const clean = normalize(path);
  if (clean.startsWith("..") || clean.startsWith("/")) throw new MissingReference(`the path ${path} of a volume leads out of it`);
  return clean;
}

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly subPath?: string;
  readonly readOnly?: boolean;
}

/** Where a container sees its volumes. `directoryOf`: a volume's directory on the host. */
export function mountsOf(container: Container, pod: Pod, directoryOf: (volume: string) => string): VolumeMount[] {
  const volumes = (pod.spec.volumes ?? []) as readonly Volume[];
  return ((container.volumeMounts ?? []) as readonly Mount[]).flatMap(({ name, mountPath, subPath, readOnly }) => {
    const volume = volumes.find((each) => each.name === name);
    if (!volume) return [];
    const source = subPath === undefined ? name : join(name, inside(subPath));
    if (subPath !== undefined && !followsObjects(volume))
      mkdirSync(join(directoryOf(name), inside(subPath)), { recursive: true, mode: 0o777 });
    return [{ source, target: normalize(mountPath), readOnly: readOnly === true || followsObjects(volume) }];
  });
}
