// A cluster's address management as the ipam commands look at it: a lab's by its kubeconfig, another cluster's by --kubeconfig.
import { existsSync } from "node:fs";
import type { Command } from "commander";
import { FairleadError } from "../base/index.ts";
import { apiFromKubernetes, type ObjectApi, snapshotOf } from "../cluster/index.ts";
import { type BlockAffinity, IPAM_RESOURCES, type IpamBlock, type IpamHandle, type IpamObjects } from "../ipam/index.ts";
import { labPaths } from "../lab/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { type LabFlags, labFlags } from "./lab-client.ts";

export interface IpamFlags extends LabFlags {
  readonly kubeconfig?: string;
}

export function ipamFlags(command: Command): Command {
  return labFlags(command).option("--kubeconfig <file>", "another cluster instead of a lab");
}

const core = (plural: string) => ({ group: "", version: "v1", plural });
/** What the blocks are about, beside themselves. */
const KINDS = [
  core("nodes"),
  core("pods"),
  { group: "projectcalico.org", version: "v3", plural: "ippools" },
  { group: "crd.projectcalico.org", version: "v1", plural: "ippools" },
  { group: "operator.tigera.io", version: "v1", plural: "installations" },
];

/** Runs with the API of the cluster that was named. @throws FairleadError `no-lab` */
export async function withIpam<T>(flags: IpamFlags, run: (api: ObjectApi) => Promise<T>): Promise<T> {
  const file = flags.kubeconfig ?? labPaths(flags.name).kubeconfig;
  if (flags.kubeconfig === undefined && !existsSync(file))
    throw new FairleadError("no-lab", `no lab named ${flags.name} is up`, {
      remedy: `fairlead lab up${flags.name === "lab" ? "" : ` --name ${flags.name}`}, or name a cluster: --kubeconfig FILE`,
    });
  const api = apiFromKubernetes(file);
  try {
    return await run(api);
  } finally {
    api.close();
  }
}

/** Reads all of it. Kinds that the cluster does not serve, it has none of. */
export async function readIpam(api: ObjectApi): Promise<IpamObjects> {
  const list = async <T extends KubeObject>(resource: Parameters<ObjectApi["list"]>[0]): Promise<readonly T[]> => {
    try {
      return await api.list<T>(resource);
    } catch (error) {
      if ((error as { readonly status?: number }).status === 404) return [];
      throw error;
    }
  };
  const [blocks, affinities, handles, ...rest] = await Promise.all([
    list<IpamBlock>(IPAM_RESOURCES.blocks),
    list<BlockAffinity>(IPAM_RESOURCES.affinities),
    list<IpamHandle>(IPAM_RESOURCES.handles),
    ...KINDS.map((kind) => list(kind)),
  ]);
  return { blocks, affinities, handles, snapshot: snapshotOf(rest.flat()) };
}
