// A node of the storm test: takes and gives back addresses as an agent does, with records on disk, until it is told to end, or killed.
import { BlockAddresses } from "../src/agent/block-addresses.ts";
import { createReplicaSource } from "../src/cluster/index.ts";
import { type AttachmentRecord, openAttachments } from "../src/cni/index.ts";
import { type ApiAnswer, type ApiCall, apiOverChannel } from "../src/lab/api-channel.ts";
import type { KubeObject } from "../src/resources/index.ts";

export type ToNode =
  | { readonly op: "start"; readonly node: string; readonly directory: string }
  | { readonly op: "objects"; readonly objects: readonly KubeObject[] }
  | { readonly op: "storm"; readonly adds: number; readonly deletes: number; readonly name: string }
  | ApiAnswer;
export type FromNode = { readonly op: "ready" | "done" } | { readonly op: "failed"; readonly message: string } | ApiCall;

const tell = (message: FromNode) => process.send?.(message);
const api = apiOverChannel(tell);
const source = createReplicaSource();
let attachments: ReturnType<typeof openAttachments> | undefined;
let addresses: BlockAddresses | undefined;

async function start(node: string, directory: string): Promise<void> {
  attachments = openAttachments(directory);
  addresses = new BlockAddresses({
    node,
    api,
    snapshot: () => source.snapshot,
    attachments,
    log: (message) => process.stderr.write(`${node}: ${message}\n`),
    changed: () => {},
    timing: { every: 0.05, grace: 0.1 },
  });
  await addresses.load();
  tell({ op: "ready" });
}

async function add(name: string): Promise<void> {
  const claim = { network: "net", containerId: name, interface: "eth0", podNamespace: "", podName: "" };
  try {
    const assigned = (await addresses?.assign(claim)) ?? [];
    attachments?.put({ ...claim, netns: "", hostLink: "", mac: "", addresses: assigned });
  } finally {
    addresses?.settled(claim);
  }
}

async function remove(record: AttachmentRecord): Promise<void> {
  attachments?.delete(record.containerId, record.interface);
  await addresses?.release(record, record.addresses);
}

process.on("message", (message: ToNode) => {
  const report = (promise: Promise<unknown>) =>
    promise.catch((error: Error) => tell({ op: "failed", message: error.stack ?? error.message }));
  if (message.op === "objects") source.replace(message.objects);
  else if (message.op === "api") api.answer(message);
  else if (message.op === "start") void report(start(message.node, message.directory));
  else {
    const going = [...(attachments?.list() ?? [])].slice(0, message.deletes);
    const adds = Array.from({ length: message.adds }, (_, i) => add(`${message.name}x${i}`));
    void report(Promise.all([...adds, ...going.map(remove)]).then(() => tell({ op: "done" })));
  }
});
process.on("disconnect", () => process.exit(0));
