// A container whose image stands for something that Fairlead is itself: it runs for real, as a process in the pod's network.
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { LogWriter } from "../workload/log-file.ts";
import type { Program } from "../workload/program.ts";
import type { SandboxFiles } from "../workload/sandbox.ts";

/** Where a component runs. */
export interface ComponentPlace {
  readonly namespace: NetworkNamespace;
  /** The pod's files; its volumes are written. */
  readonly files: SandboxFiles;
  readonly env: Readonly<Record<string, string>>;
  readonly log: LogWriter;
}

export interface Component {
  launch(place: ComponentPlace): Program;
}
