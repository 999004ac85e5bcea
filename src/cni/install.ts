// Puts the CNI plugin where a container runtime looks: the executable, where it finds its agent, and the configuration list.
import { chmodSync, copyFileSync, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface InstallOptions {
  /** /opt/cni/bin on a real node. */
  readonly binDirectory: string;
  /** /etc/cni/net.d on a real node. */
  readonly configDirectory: string;
  /** Path of the socket that the agent serves. */
  readonly socketPath: string;
  /** Mode of directories that have to be made. */
  readonly directoryMode?: number;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const LIST = { cniVersion: "1.1.0", name: "fairlead", plugins: [{ type: "fairlead", capabilities: { portMappings: true } }] };

/** Installs the plugin; a runtime that looks meanwhile finds the old files or the new ones, never half of one. */
export function installPlugin({ binDirectory, configDirectory, socketPath, directoryMode = 0o755 }: InstallOptions): void {
  for (const directory of [binDirectory, configDirectory]) mkdirSync(directory, { recursive: true, mode: directoryMode });
  const executable = join(binDirectory, "fairlead");
  const native = join(ROOT, ".build/fairlead-cni");
  replace(executable, (path) => {
    if (existsSync(native)) copyFileSync(native, path);
    else writeFileSync(path, fallback());
    chmodSync(path, 0o755);
  });
  replace(`${executable}.socket`, (path) => writeFileSync(path, `${socketPath}\n`));
  // Last: a runtime takes the network as ready once there is a configuration.
  replace(join(configDirectory, "10-fairlead.conflist"), (path) => writeFileSync(path, `${JSON.stringify(LIST, null, 2)}\n`));
}

/** The plugin in Node, for hosts where no compiler made the native one. */
function fallback(): string {
  return `#!/bin/sh\nexec "${process.execPath}" --disable-warning=ExperimentalWarning "${join(ROOT, "src/cni/fallback-main.ts")}" "$0"\n`;
}

function replace(path: string, write: (path: string) => void): void {
  const beside = `${path}.new`;
  write(beside);
  renameSync(beside, path);
}
