// Starts a lab's daemon, and finds the daemon of a lab that is up.
import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { FairleadError, messageOf } from "../base/index.ts";
import { apiFromKubernetes, readKubeconfig } from "../cluster/index.ts";
import { KernelError, makeBoundSocket } from "../kernel/index.ts";
import { ownerOf } from "./control/mark.ts";
import { admit, leave } from "./control/membership.ts";
import type { DaemonMessage } from "./daemon.ts";
import { nodeNames, placeNodes } from "./fabric.ts";
import { checkPrivileges, checkTools } from "./host.ts";
import type { LabOptions } from "./lab.ts";
import { planNetworks } from "./networks.ts";
import { type LabPaths, labPaths, labsDirectory, makeLabDirectory } from "./paths.ts";
import { callRpc } from "./rpc.ts";

/**
 * Most of the young part of the daemon's heap, in megabytes (a half of it). V8 would let it grow to 16 while the lab is raised, and keeps
 * it: some 25 MB of an idle lab, for nothing that `bench/lab.ts` could measure.
 */
const YOUNG_MB = 4;

/** How long a daemon may take to end after it has answered, in milliseconds. */
const END_WAIT_MS = 5000;

/** Whether a lab's daemon answers. */
export async function isUp(name: string): Promise<boolean> {
  const { socket } = labPaths(name);
  if (!existsSync(socket)) return false;
  return callRpc(socket, "status", {}).then(
    () => true,
    () => false,
  );
}

/** Takes a lab down; resolves when its daemon has ended, with what the person should know of what is left. @throws FairleadError `no-daemon` */
export async function takeDown(name: string): Promise<readonly string[]> {
  const { socket, directory } = labPaths(name);
  const { pid } = await callRpc<{ pid: number }>(socket, "status", {});
  const { notices } = await callRpc<{ notices: readonly string[] }>(socket, "down", {});
  for (const end = performance.now() + END_WAIT_MS; !hasEnded(pid) && performance.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  if (notices.length === 0) rmSync(directory, { recursive: true, force: true });
  return notices;
}

/** Whether a process is over: gone, or (Z) with nothing left but the status that its parent, perhaps a slow init, has not read yet. */
function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
  } catch {
    return true;
  }
}

/**
 * Removes what a killed daemon left: the kernel has taken back the rest, and a cluster elsewhere is asked for what it has of the lab's
 * unless that is to be forgotten. True if there was something. @throws FairleadError `left-behind`
 */
export async function removeRemains(name: string, forget = false): Promise<boolean> {
  const paths = labPaths(name);
  if (!existsSync(paths.directory) || (await isUp(name))) return false;
  if (existsSync(paths.owner) && !forget) await leaveCluster(paths);
  rmSync(paths.directory, { recursive: true, force: true });
  return true;
}

async function leaveCluster({ given, owner, directory }: LabPaths): Promise<void> {
  const access = readKubeconfig(given);
  const api = apiFromKubernetes(access);
  try {
    await leave(api, readFileSync(owner, "utf8"));
  } catch (cause) {
    throw new FairleadError("left-behind", `${access.server.origin} still has the lab's Nodes and what it made: ${messageOf(cause)}`, {
      where: directory,
      remedy: "try again when the server is back; or leave them there: fairlead lab down --forget",
      cause,
    });
  } finally {
    api.close();
  }
}

/** The API server that a lab is to work for. */
export interface ForeignServer {
  /** A kubeconfig that needs no other files. */
  readonly kubeconfig: string;
  /** Its cluster may have nodes that are not the lab's. */
  readonly join: boolean;
}

/** Whether the lab may go there. @throws FairleadError `no-privilege`, and as `admit` says */
async function ask({ kubeconfig, join }: ForeignServer, options: LabOptions): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new FairleadError("no-privilege", "the lab of an ordinary user has no way out of its namespace, to a server elsewhere", {
      remedy: "run as root, or without --kubeconfig",
    });
  const access = readKubeconfig(kubeconfig);
  const api = apiFromKubernetes(access);
  try {
    const nodes = nodeNames(options.nodes);
    await admit(api, { owner: ownerOf(options.name), nodes, server: access.server.origin, join });
  } finally {
    api.close();
  }
}

/** Raises a lab in a daemon of its own; `signal` ends it again. Resolves when its API serves. @throws FairleadError `lab-exists`, `lab-failed`, `no-privilege` */
export async function launchLab(
  options: LabOptions,
  progress: (text: string) => void,
  signal?: AbortSignal,
  foreign?: ForeignServer,
): Promise<void> {
  if (await isUp(options.name)) {
    throw new FairleadError("lab-exists", `a lab named ${options.name} is up already`, {
      remedy: `take it down with "fairlead lab down --name ${options.name}", or give the new one another name`,
    });
  }
  // What can be known to be wrong is said before anything is made.
  planNetworks(options);
  placeNodes(Array(options.nodes).fill(""), options.subnets);
  const root = process.getuid?.() === 0;
  if (root) checkPrivileges();
  checkTools();
  if (foreign) await ask(foreign, options);
  await removeRemains(options.name);
  const paths = labPaths(options.name);
  // Made here, so that it listens where the person is, whatever namespace the lab lives in.
  const api = bindApi(options.apiPort);
  makeLabDirectory(paths);
  if (foreign) {
    writeFileSync(paths.given, foreign.kubeconfig, { mode: 0o600 });
    writeFileSync(paths.owner, ownerOf(options.name), { mode: 0o600 });
  }
  const log = openSync(paths.log, "a", 0o600);
  const node = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    `--max-semi-space-size=${YOUNG_MB}`,
    fileURLToPath(new URL("./daemon.ts", import.meta.url)),
    JSON.stringify(options),
  ];
  const [command = "", ...args] = root ? node : ["unshare", "--user", "--map-root-user", "--net", "--mount", "--", ...node];
  const child = spawn(command, args, {
    detached: true,
    stdio: ["ignore", log, log, "ipc", api],
    env: { ...process.env, FAIRLEAD_STATE: labsDirectory(), ...(root ? {} : { FAIRLEAD_ROOTLESS: "1" }) },
  });
  closeSync(api);
  closeSync(log);
  let interrupt = (): void => {};
  await new Promise<void>((resolve, reject) => {
    const fail = (message: string, remedy?: string) => {
      rmSync(paths.directory, { recursive: true, force: true });
      reject(new FairleadError(root ? "lab-failed" : "no-privilege", message, { remedy }));
    };
    child.on("message", (message: DaemonMessage) => {
      if ("progress" in message) progress(message.progress);
      else if ("error" in message) fail(`the lab could not be raised: ${message.error}`);
      else resolve();
    });
    interrupt = () => {
      child.removeAllListeners("exit");
      child.on("exit", () => fail("interrupted"));
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), END_WAIT_MS).unref();
    };
    signal?.addEventListener("abort", interrupt);
    child.on("error", (error) => fail(`the lab's daemon did not start: ${error.message}`));
    child.on("exit", (status) =>
      root
        ? fail(`the lab's daemon ended with status ${status}: ${lastWords(paths.log)}`)
        : fail(
            "an ordinary user can't make user namespaces on this host",
            "run as root, or let users: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns",
          ),
    );
  });
  signal?.removeEventListener("abort", interrupt);
  child.removeAllListeners();
  child.disconnect();
  child.unref();
}

/** The API's socket. @throws FairleadError `port-taken` */
function bindApi(port: number): number {
  try {
    return makeBoundSocket({ protocol: "tcp", address: "127.0.0.1", port, reuseAddress: true });
  } catch (cause) {
    if (!(cause instanceof KernelError) || cause.errnoName !== "EADDRINUSE") throw cause;
    throw new FairleadError("port-taken", `port ${port} of 127.0.0.1 is taken, so the API can't listen there`, {
      remedy: `give another --api-port, or none for any that is free; who has it: ss -ltnp sport = :${port}`,
      cause,
    });
  }
}

/** The end of the daemon's log: it goes away with the lab. */
function lastWords(file: string): string {
  try {
    return readFileSync(file, "utf8").trim().split("\n").slice(-12).join("\n");
  } catch {
    return "it left no word";
  }
}
