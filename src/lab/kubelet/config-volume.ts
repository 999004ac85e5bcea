// A pod's ConfigMap volume as files: written when the pod starts, replaced when the ConfigMap changes, as kubelet does.
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ConfigMap, Container, Pod } from "../../resources/index.ts";

export interface ConfigVolume {
  /** Where the container sees it. */
  readonly mountPath: string;
  readonly volume: string;
  readonly configMap: string;
  /** Key → path within the volume; every key under its own name where it is not given. */
  readonly items: ReadonlyMap<string, string> | undefined;
  readonly optional: boolean;
}

interface Volume {
  readonly name: string;
  readonly configMap?: {
    readonly name?: string;
    readonly optional?: boolean;
    readonly items?: readonly { readonly key: string; readonly path: string }[];
  };
}

/** The ConfigMap volumes that a container mounts. */
export function configVolumes(pod: Pod, container: Container): ConfigVolume[] {
  const volumes = (pod.spec.volumes ?? []) as readonly Volume[];
  const mounts = (container.volumeMounts ?? []) as readonly { readonly name: string; readonly mountPath: string }[];
  return mounts.flatMap(({ name, mountPath }) => {
    const source = volumes.find((volume) => volume.name === name)?.configMap;
    if (!source?.name) return [];
    const items = source.items ? new Map(source.items.map(({ key, path }) => [key, path])) : undefined;
    return [{ mountPath, volume: name, configMap: source.name, items, optional: source.optional ?? false }];
  });
}

/** Writes the files of a volume: each is whole at any time; those that are no longer in the ConfigMap go. */
export function writeConfigVolume(directory: string, volume: ConfigVolume, configMap: ConfigMap | undefined): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const files = new Map<string, string>();
  for (const [key, text] of Object.entries(configMap?.data ?? {})) {
    const path = volume.items ? volume.items.get(key) : key;
    // A path with folders would need them made; nothing that reads these volumes has any.
    if (path !== undefined && !path.includes("/")) files.set(path, text);
  }
  for (const [path, text] of files) {
    const made = join(directory, `.${path}.new`);
    writeFileSync(made, text, { mode: 0o600 });
    renameSync(made, join(directory, path));
  }
  for (const name of readdirSync(directory)) if (!files.has(name)) rmSync(join(directory, name), { recursive: true, force: true });
}
