// What the API server asks of whoever runs the pods (kubelet's part): commands, logs, and connections into them.
import type { Duplex, Readable } from "node:stream";
import type { Pod } from "../../resources/index.ts";
import type { CommandStreams, CommandWishes } from "./command-streams.ts";

export interface LogWishes {
  readonly follow: boolean;
  /** Of the container that ran before the last restart. */
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** Lines from the end; undefined: all. */
  readonly tailLines?: number;
  readonly limitBytes?: number;
  /** Milliseconds since the epoch. */
  readonly since?: number;
}

/** All methods reject with an ApiError where the pod is not there (any more), or not running. */
export interface PodHost {
  /** Runs a program in a container to its end. Gives its exit status. */
  exec(pod: Pod, container: string, command: readonly string[], how: { wishes: CommandWishes; streams: CommandStreams }): Promise<number>;
  /** Carries the output of a container's own program. Resolves when that ends, with its exit status, or the client goes. */
  attach(pod: Pod, container: string, how: { wishes: CommandWishes; streams: CommandStreams }): Promise<number>;
  log(pod: Pod, container: string, wishes: LogWishes): Readable;
  /** A TCP connection to a port of the pod's own loopback address, as port-forward has it. */
  connect(pod: Pod, port: number): Promise<Duplex>;
}
