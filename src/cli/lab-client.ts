// A command's way to the daemon of the lab that it was given.
import type { Command } from "commander";
import { FairleadError } from "../base/index.ts";
import { callRpc, labPaths, takeDown } from "../lab/index.ts";
import { startProgress } from "./terminal.ts";

export interface LabFlags {
  readonly name: string;
  readonly output?: string;
}

/** Adds --name and -o. */
export function labFlags(command: Command): Command {
  return command.option("--name <lab>", "which lab", "lab").option("-o, --output <format>", "json for machines");
}

/** Calls the lab's daemon, showing its progress. @throws FairleadError `no-lab` */
export async function callLab<T>(flags: LabFlags, method: string, params: unknown = {}, waiting?: string): Promise<T> {
  const progress = waiting === undefined || flags.output === "json" ? undefined : startProgress(waiting);
  const gone = new AbortController();
  const stop = () => gone.abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, stop);
  try {
    return await callRpc<T>(labPaths(flags.name).socket, method, params, {
      signal: gone.signal,
      ...(progress ? { onProgress: (text: string) => progress.update(text) } : {}),
    });
  } catch (error) {
    throw noLab(flags, error);
  } finally {
    progress?.done();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, stop);
  }
}

/** Calls a method that tells things until the signal. @throws FairleadError `no-lab` */
export async function followLab(
  flags: LabFlags,
  method: string,
  params: unknown,
  options: { readonly onItem: (item: unknown) => void; readonly signal: AbortSignal },
): Promise<void> {
  await callRpc(labPaths(flags.name).socket, method, params, options).catch((error) => {
    if (!options.signal.aborted) throw noLab(flags, error);
  });
}

function noLab(flags: LabFlags, error: unknown): unknown {
  if (!(error instanceof FairleadError) || error.code !== "no-daemon") return error;
  return new FairleadError("no-lab", `no lab named ${flags.name} is up`, {
    remedy: `fairlead lab up${flags.name === "lab" ? "" : ` --name ${flags.name}`}, or see: fairlead lab list`,
  });
}

/** Takes a lab down, and says so while it does. @throws FairleadError `left-behind` */
export async function endLab(name: string): Promise<void> {
  const progress = startProgress(`taking lab ${name} down`);
  const notices = await takeDown(name).finally(() => progress.done());
  if (notices.length > 0) throw new FairleadError("left-behind", notices.join("; "), { remedy: LEFT_BEHIND });
}

const LEFT_BEHIND = "its namespaces and processes are gone; to leave the rest there: fairlead lab down --forget";
