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

const tellStatus = () => agent && tell({ op: "status", status: agent.status });

/** Who waits until the newest revision is followed waits for the plan, not for the next round; for a plan that takes long, for that. */
function tellWhenPlanned(revision: number, waitMs = 10): void {
  if ((agent?.plan?.revision ?? 0) >= revision) tellStatus();
  else if (waitMs < STATUS_EVERY_MS) setTimeout(() => tellWhenPlanned(revision, waitMs * 2), waitMs);
}

process.on("message", async (message: ToAgent) => {
  if (message.op === "objects") {
    source.replace(message.objects, message.revision);
    tellWhenPlanned(message.revision);
  } else if (message.op === "api") api.answer(message);
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
    tellStatus();
    tell({ op: "ready" });
    setInterval(tellStatus, STATUS_EVERY_MS);
  }
});
// The data path stays as it is when the daemon is gone.
process.on("disconnect", () => process.exit(0));
