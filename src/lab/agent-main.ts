// Entry of an agent's own process in a lab.
import { type Agent, startAgent } from "../agent/index.ts";
import { createReplicaSource, type ReplicaSource } from "../cluster/index.ts";
import { createLinuxKernel } from "../kernel/index.ts";
import type { FromAgent, ToAgent } from "./agent-process.ts";
import { apiOverChannel } from "./api-channel.ts";

const STATUS_EVERY_MS = 250;
const source: ReplicaSource = createReplicaSource();
let agent: Agent | undefined;

const api = apiOverChannel((call) => tell(call));

const tell = (message: FromAgent) => {
  if (process.connected) process.send?.(message);
};

process.on("message", async (message: ToAgent) => {
  if (message.op === "objects") source.replace(message.objects);
  else if (message.op === "api") api.answer(message);
  else if (message.op === "stop") process.exit(0);
  else {
    const kernel = createLinuxKernel();
    agent = await startAgent({
      node: message.node,
      kernel,
      namespace: kernel.openNamespace(message.netns),
      source,
      stateDirectory: message.stateDirectory,
      cniSocket: message.cniSocket,
      services: message.services,
      network: message.network,
      api,
      annotate: (annotations) => tell({ op: "annotate", annotations }),
      log: (text) => tell({ op: "log", message: text }),
    });
    tell({ op: "status", status: agent.status });
    tell({ op: "ready" });
    setInterval(() => agent && tell({ op: "status", status: agent.status }), STATUS_EVERY_MS);
  }
});
// The data path stays as it is when the daemon is gone.
process.on("disconnect", () => process.exit(0));
