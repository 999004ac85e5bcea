// A working kernel in memory, for tests without root: it refuses what Linux refuses, with the same errnos.
import type { ErrnoName } from "../errors.ts";
import type { Kernel } from "../kernel.ts";
import { FakeNamespace, FakeNamespaceState } from "./namespace.ts";
import { refuse } from "./refuse.ts";

export interface FakeKernel extends Kernel {
  createNamespace(): FakeNamespace;
  openNamespace(path: string): FakeNamespace;
  hostNamespace(): FakeNamespace;
  /**
   * The next `times` calls of the operation fail with the errno. An operation is a method's name ("listRoutes", "writeSysctl",
   * "nft" for a transaction), or what `apply` is asked: "add link", "replace fdb", "delete route".
   */
  failNext(operation: string, errnoName: ErrnoName, times?: number): void;
}

const FIRST_INODE = 4026540000;

/** Makes an empty fake kernel: one host namespace with nothing but `lo`. */
export function createFakeKernel(): FakeKernel {
  return new MemoryKernel();
}

class MemoryKernel implements FakeKernel {
  readonly #states = new Map<string, FakeNamespaceState>();
  readonly #failures = new Map<string, { errnoName: ErrnoName; left: number }>();
  readonly #host: FakeNamespaceState;

  constructor() {
    this.#host = this.#makeState();
  }

  createNamespace(): FakeNamespace {
    const state = this.#makeState();
    state.network.apply({ op: "set", link: { name: "lo", up: true } });
    return this.#handle(state);
  }

  openNamespace(path: string): FakeNamespace {
    return this.#handle(this.#states.get(path) ?? refuse("ENOENT", "no such namespace", path));
  }

  hostNamespace(): FakeNamespace {
    return this.#handle(this.#host);
  }

  failNext(operation: string, errnoName: ErrnoName, times = 1): void {
    this.#failures.set(operation, { errnoName, left: times });
  }

  #makeState(): FakeNamespaceState {
    const state = new FakeNamespaceState(FIRST_INODE + this.#states.size);
    this.#states.set(pathOf(state), state);
    return state;
  }

  #handle(state: FakeNamespaceState): FakeNamespace {
    return new FakeNamespace(state, pathOf(state), (operation) => this.#failIfAsked(operation));
  }

  #failIfAsked(operation: string): void {
    const failure = this.#failures.get(operation);
    if (!failure || failure.left === 0) return;
    failure.left--;
    refuse(failure.errnoName, `${operation} was told to fail`);
  }
}

const pathOf = (state: FakeNamespaceState) => `/fake/net/${state.inode}`;
