// A container whose image stands for something that Fairlead is itself: it runs for real, as a process in the pod's network.
import type { ChildProcess } from "node:child_process";
import type { NetworkNamespace } from "../../kernel/index.ts";

/** Where a component runs. */
export interface ComponentPlace {
  readonly namespace: NetworkNamespace;
  /** The pod's, with its resolv.conf and hosts. */
  readonly directory: string;
  readonly env: Readonly<Record<string, string>>;
  /** File that gets what it prints. */
  readonly log: string;
}

export interface Component {
  /** Puts its files in place. @throws FairleadError where something is missing; it is tried again */
  prepare(place: ComponentPlace): void;
  launch(place: ComponentPlace): ChildProcess;
}
