// The Node tells of what is in effect on it: where its tunnels end, and how.
import { messageOf } from "../base/index.ts";
import type { Node } from "../resources/index.ts";

/** Null takes an annotation away. */
export type Annotations = Readonly<Record<string, string | null>>;

export class NodeAnnotations {
  readonly #write: (annotations: Annotations) => Promise<void> | void;
  readonly #log: (message: string) => void;
  /** What was written last, until the Node says it. */
  #written = "";

  constructor(write: (annotations: Annotations) => Promise<void> | void, log: (message: string) => void) {
    this.#write = write;
    this.#log = log;
  }

  /** Writes what the Node does not say yet, once; again if it failed. */
  tell(annotations: Annotations, node: Node): void {
    const said = node.metadata.annotations ?? {};
    if (Object.entries(annotations).every(([key, value]) => (said[key] ?? null) === value)) {
      this.#written = "";
      return;
    }
    const text = JSON.stringify(annotations);
    if (text === this.#written) return;
    this.#written = text;
    void Promise.resolve(this.#write(annotations)).catch((error) => {
      this.#written = "";
      this.#log(`annotations: ${messageOf(error)}`);
    });
  }
}
