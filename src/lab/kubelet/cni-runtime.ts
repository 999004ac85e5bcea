// The container runtime's side of CNI: reads a configuration list and calls its plugins as libcni does
// (CNI specification 1.1.0, section 3): environment, configuration on stdin, prevResult handed on, result kept.
import { readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FairleadError, messageOf } from "../../base/index.ts";
import { isErrno, type ProgramEnd, runProgram } from "../../kernel/index.ts";

interface CniNetwork {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly Readonly<Record<string, unknown> & { type: string }>[];
}

export interface CniCall {
  readonly containerId: string;
  readonly netns: string;
  readonly interface: string;
  readonly args: Readonly<Record<string, string>>;
}

interface CniAddResult {
  readonly ips: readonly { readonly address: string; readonly gateway?: string }[];
  readonly [field: string]: unknown;
}

export interface CniRuntimeOptions {
  /** Directory with *.conflist files; the first in order of name is used. */
  readonly configDirectory: string;
  readonly binDirectory: string;
  /** Where results are kept. */
  readonly cacheDirectory: string;
}

export interface CniRuntime {
  add(call: CniCall): Promise<CniAddResult>;
  delete(call: CniCall): Promise<void>;
  check(call: CniCall): Promise<void>;
  /** Resolves when the network can serve ADD. @throws FairleadError `cni` with the plugin's code and words */
  status(): Promise<void>;
  collectGarbage(valid: readonly { readonly containerID: string; readonly ifname: string }[]): Promise<void>;
}

/** Reads the first configuration list of a directory. @throws FairleadError `cni-config` */
function readNetwork(directory: string): CniNetwork {
  let names: string[];
  try {
    names = readdirSync(directory)
      .filter((name) => name.endsWith(".conflist"))
      .sort();
  } catch (cause) {
    throw new FairleadError("cni-config", "the CNI configuration directory can't be read", { where: directory, cause });
  }
  const first = names[0];
  if (!first)
    throw new FairleadError("cni-config", "no CNI configuration list (*.conflist) is there", {
      where: directory,
      remedy: "the agent writes one when it starts: is it running?",
    });
  const file = join(directory, first);
  const bad = (message: string, cause?: unknown) => new FairleadError("cni-config", message, { where: file, remedy: REWRITE, cause });
  let network: Partial<CniNetwork> | null;
  try {
    network = JSON.parse(readFileSync(file, "utf8")) as Partial<CniNetwork> | null;
  } catch (cause) {
    throw bad(`not a CNI configuration list, as it is no JSON: ${messageOf(cause)}`, cause);
  }
  const { name, cniVersion, plugins } = network ?? {};
  if (typeof name !== "string" || name === "") throw bad("the CNI configuration list has no name");
  if (typeof cniVersion !== "string" || !VERSIONS.includes(cniVersion))
    throw bad(`cniVersion ${JSON.stringify(cniVersion) ?? "is missing, and"} is none that a list can have: ${VERSIONS.join(", ")}`);
  if (!Array.isArray(plugins) || plugins.length === 0) throw bad("the CNI configuration list has no plugins");
  for (const [index, plugin] of plugins.entries())
    if (typeof plugin?.type !== "string" || !/^[\w.-]+$/.test(plugin.type))
      throw bad(`plugins[${index}].type must name a plugin's executable`);
  return { name, cniVersion, plugins };
}

const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const REWRITE = "correct the file, or remove it: the first *.conflist in order of name is used";

/** A runtime over one node's configuration, plugins and cache. */
export function createCniRuntime(options: CniRuntimeOptions): CniRuntime {
  const cacheFile = (network: CniNetwork, call: CniCall) =>
    join(options.cacheDirectory, `${network.name}-${call.containerId}-${call.interface}`);

  async function callPlugins(
    verb: string,
    call: Partial<CniCall>,
    extra: { prevResult?: unknown; reverse?: boolean; config?: object } = {},
  ): Promise<unknown> {
    const network = readNetwork(options.configDirectory);
    let result = extra.prevResult;
    const plugins = extra.reverse ? [...network.plugins].reverse() : network.plugins;
    for (const plugin of plugins) {
      const config = {
        ...plugin,
        name: network.name,
        cniVersion: network.cniVersion,
        ...extra.config,
        ...(result === undefined ? {} : { prevResult: result }),
      };
      const answer = await callPlugin(join(options.binDirectory, plugin.type), verb, call, JSON.stringify(config), options.binDirectory);
      if (verb === "ADD") result = answer;
    }
    return result;
  }

  return {
    async add(call) {
      const network = readNetwork(options.configDirectory);
      const result = (await callPlugins("ADD", call)) as CniAddResult;
      await mkdir(options.cacheDirectory, { recursive: true, mode: 0o700 });
      await writeFile(cacheFile(network, call), JSON.stringify({ kind: "cniCacheV1", ...call, networkName: network.name, result }), {
        mode: 0o600,
      });
      return result;
    },
    async delete(call) {
      const network = readNetwork(options.configDirectory);
      const file = cacheFile(network, call);
      const prevResult = await readFile(file, "utf8").then(
        (text) => (JSON.parse(text) as { result: unknown }).result,
        () => undefined,
      );
      await callPlugins("DEL", call, { prevResult, reverse: true });
      await rm(file, { force: true });
    },
    async check(call) {
      const network = readNetwork(options.configDirectory);
      const { result } = JSON.parse(await readFile(cacheFile(network, call), "utf8")) as { result: unknown };
      await callPlugins("CHECK", call, { prevResult: result });
    },
    async status() {
      await callPlugins("STATUS", {});
    },
    async collectGarbage(valid) {
      await callPlugins("GC", {}, { config: { "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid } });
    },
  };
}

/** A real call of the executable: environment, configuration on standard input, result on standard output (section 4). */
async function callPlugin(path: string, verb: string, call: Partial<CniCall>, stdin: string, cniPath: string): Promise<unknown> {
  const args = Object.entries(call.args ?? {}).map(([key, value]) => `${key}=${value}`);
  const env = {
    PATH: process.env.PATH ?? "",
    CNI_COMMAND: verb,
    CNI_PATH: cniPath,
    ...(call.containerId === undefined
      ? {}
      : { CNI_CONTAINERID: call.containerId, CNI_NETNS: call.netns ?? "", CNI_IFNAME: call.interface ?? "eth0" }),
    ...(args.length > 0 ? { CNI_ARGS: args.join(";") } : {}),
  };
  let end: ProgramEnd;
  try {
    end = await runProgram({ path, args: [], env, stdin });
  } catch (cause) {
    throw cannotRun(path, cause);
  }
  const answer = parseJson(end.stdout);
  if (end.status === 0) return answer;
  throw new FairleadError("cni", `${verb} failed: ${describe(answer) ?? (end.stderr.trim() || `exit status ${end.status}`)}`, {
    where: path,
  });
}

function cannotRun(path: string, cause: unknown): FairleadError {
  const type = path.slice(path.lastIndexOf("/") + 1);
  return isErrno(cause, "ENOENT")
    ? new FairleadError("cni", `there is no CNI plugin of type "${type}"`, {
        where: path,
        remedy: "correct the type in the configuration list, or put the executable there",
        cause,
      })
    : new FairleadError("cni", `the CNI plugin can't be run: ${messageOf(cause)}`, { where: path, cause });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function describe(answer: unknown): string | undefined {
  if (typeof answer !== "object" || answer === null || !("code" in answer)) return undefined;
  const { code, msg, details } = answer as { code: number; msg?: string; details?: string };
  return `${msg ?? "error"}${details ? `: ${details}` : ""} (code ${code})`;
}
