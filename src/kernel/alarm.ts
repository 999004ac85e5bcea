// One timer that can be set anew and called off.
import type { ReconcilerClock } from "./reconcile.ts";

export class Alarm {
  readonly #clock: ReconcilerClock;
  readonly #action: () => void;
  #off: (() => void) | undefined;

  constructor(clock: ReconcilerClock, action: () => void) {
    this.#clock = clock;
    this.#action = action;
  }

  get isSet(): boolean {
    return this.#off !== undefined;
  }

  ring(milliseconds: number): void {
    this.off();
    this.#off = this.#clock.after(milliseconds, () => {
      this.#off = undefined;
      this.#action();
    });
  }

  off(): void {
    this.#off?.();
    this.#off = undefined;
  }
}
