// Where the views of BGP come from: the agents of a lab's nodes, or the agent of this machine.
import { get } from "node:http";
import type { Command } from "commander";
import { FairleadError } from "../base/index.ts";
import type { LabStatus } from "../lab/index.ts";
import { callLab, followLab, type LabFlags, labFlags } from "./lab-client.ts";

export interface NodeFlags extends LabFlags {
  readonly node?: string;
  /** This machine's own agent. */
  readonly here?: boolean;
}

const HERE = "http://127.0.0.1:10249";

/** Adds --name, --node, --here and -o. */
export function nodeFlags(command: Command): Command {
  return labFlags(command).option("--node <node>", "one node only").option("--here", "ask the agent of this machine instead of a lab's");
}

/** The nodes that are asked for. */
export async function bgpNodes(flags: NodeFlags): Promise<string[]> {
  if (flags.here) return ["here"];
  if (flags.node !== undefined) return [flags.node.replace(/^node\//, "")];
  const { nodes } = await callLab<LabStatus>({ ...flags, output: "json" }, "status");
  return nodes.map(({ name }) => name);
}

/** One page of a node's agent. @throws FairleadError `no-agent`, `no-such-node`, `node-page` */
export function bgpPage<T>(flags: NodeFlags, node: string, path: string): Promise<T> {
  return flags.here ? askHere<T>(path) : callLab<T>(flags, "page", { node, path });
}

/** The lines of a page that goes on, until the signal or the agent's end. */
export async function bgpLines(
  flags: NodeFlags,
  node: string,
  path: string,
  line: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  if (!flags.here) return followLab(flags, "follow", { node, path }, { onItem: (item) => line(String(item)), signal });
  const response = await openHere(path, signal);
  let rest = "";
  for await (const chunk of response.setEncoding("utf8")) {
    rest += String(chunk);
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      line(rest.slice(0, end));
      rest = rest.slice(end + 1);
    }
  }
}

async function askHere<T>(path: string): Promise<T> {
  const response = await openHere(path);
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  if (response.statusCode !== 200) throw new FairleadError("node-page", text, { where: HERE + path });
  return JSON.parse(text) as T;
}

function openHere(path: string, signal?: AbortSignal): Promise<import("node:http").IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(HERE + path, signal ? { signal } : { timeout: 10_000 }, resolve).on("error", (cause) =>
      reject(
        new FairleadError("no-agent", "no agent answers on this machine", {
          where: HERE,
          remedy: "is `fairlead agent` running here?",
          cause,
        }),
      ),
    );
  });
}
