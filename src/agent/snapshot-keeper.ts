// The last snapshot on disk: what an agent begins with where no API server answers.
import { join } from "node:path";
import { messageOf } from "../base/index.ts";
import { type ClusterSnapshot, loadSnapshot, saveSnapshot, snapshotOf } from "../cluster/index.ts";

/** The snapshot goes to disk at most this often, in milliseconds. */
const SAVE_EVERY_MS = 2000;
/** Saving takes one part in so many of the time, at most. */
const SAVE_SHARE = 100;

export class SnapshotKeeper {
  readonly #file: string;
  readonly #log: (message: string) => void;
  #newest: ClusterSnapshot | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastMs = 0;

  constructor(stateDirectory: string, log: (message: string) => void) {
    this.#file = join(stateDirectory, "snapshot.json");
    this.#log = log;
  }

  /** What was kept; undefined if nothing was, or it can't be read. */
  load(): ClusterSnapshot | undefined {
    const saved = loadSnapshot(this.#file);
    return "objects" in saved ? snapshotOf(saved.objects) : undefined;
  }

  /** Agents of one process save at the same moments, the same snapshot, which is then written once. */
  keep(snapshot: ClusterSnapshot): void {
    this.#newest = snapshot;
    const every = SAVE_EVERY_MS * Math.ceil((this.#lastMs * SAVE_SHARE + 1) / SAVE_EVERY_MS);
    this.#timer ??= setTimeout(
      () => {
        this.#timer = undefined;
        this.#save();
      },
      // The first at once: an agent that is killed soon after its first start shall know the cluster, too.
      this.#lastMs === 0 ? 0 : every - (performance.now() % every),
    ).unref();
  }

  /** Saves what is not saved yet. */
  close(): void {
    if (this.#timer) this.#save();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #save(): void {
    const started = performance.now();
    try {
      if (this.#newest) saveSnapshot(this.#file, this.#newest);
    } catch (error) {
      this.#log(`snapshot not saved: ${messageOf(error)}`);
    }
    this.#lastMs = performance.now() - started;
  }
}
