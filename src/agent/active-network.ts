// Which network is in effect on a node, and how it comes to be the one that is asked for.
//
//   overlay ──asked for: routed──▶ changing: no ADD; every address on record gets its place in a block ──▶ routed
//   routed  ──asked for: overlay─▶ only without pods: their addresses are none of the node's podCIDR
//
// What is in effect is on disk, so that a restarted agent goes on with it, whatever the API says or does not say.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/index.ts";
import { KubernetesApiError } from "../cluster/index.ts";
import type { AttachmentStore } from "../cni/index.ts";
import { NETWORKS, type Network } from "../plan/index.ts";
import type { BlockAddresses } from "./block-addresses.ts";

export interface ActiveNetworkOptions {
  readonly stateDirectory: string;
  readonly attachments: AttachmentStore;
  readonly log: (message: string) => void;
  /** Opens the node's blocks; undefined where there is no API that they could be kept in. */
  readonly openBlocks: () => BlockAddresses | undefined;
  /** It is in effect from now on: plan. */
  readonly changed: () => void;
}

const RETRY_MS = 1000;

export class ActiveNetwork {
  readonly #options: ActiveNetworkOptions;
  readonly #file: string;
  #current: Network | undefined;
  #blocks: BlockAddresses | undefined;
  #loaded = false;
  #loading = false;
  #asked: Network | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Why the blocks could not be read. */
  #failure: string | undefined;
  #closed = false;
  #remarks: readonly string[] = [];

  constructor(options: ActiveNetworkOptions) {
    this.#options = options;
    this.#file = join(options.stateDirectory, "network");
    // Pods that are wired were wired by what was in effect; without any, what is asked for can begin at once.
    if (options.attachments.list().length > 0) this.#current = readNetwork(this.#file) ?? "overlay";
  }

  /** What is in effect; undefined before anything was asked for. */
  get current(): Network | undefined {
    return this.#current;
  }

  /** The node's blocks, once they are read. */
  get blocks(): BlockAddresses | undefined {
    return this.#loaded && this.#current === "routed" ? this.#blocks : undefined;
  }

  /** Why no pod can be added now; undefined if one can. */
  get unready(): string | undefined {
    if (this.#current === "routed" && !this.#loaded) return this.#failure ?? "the node's address blocks have not been read yet";
    if (this.#asked === "routed" && this.#current === "overlay") return "the node's network changes from overlay to routed";
    return undefined;
  }

  get remarks(): readonly string[] {
    return this.#remarks;
  }

  /** Takes note of what is asked for, and sets out to bring it about. */
  follow(asked: Network): void {
    const { attachments } = this.#options;
    this.#asked = asked;
    this.#remarks = [];
    if (asked === "overlay" && this.#current === "routed" && attachments.list().length > 0) {
      this.#asked = "routed";
      this.#remarks = [
        `overlay is asked for, but ${attachments.list().length} pods here have addresses of blocks: the node stays routed; drain it, then it changes`,
      ];
    } else if (asked === "overlay") {
      const wasRouted = this.#current === "routed";
      this.#enter("overlay");
      if (wasRouted) void this.#blocks?.leave();
      this.#dropBlocks();
    } else {
      if (this.#current === undefined || attachments.list().length === 0) this.#enter("routed");
      this.#load();
    }
  }

  #load(): void {
    if (this.#loaded || this.#loading || this.#retry || this.#closed) return;
    this.#blocks ??= this.#options.openBlocks();
    const blocks = this.#blocks;
    if (!blocks) {
      this.#remarks = ["the routed network keeps its blocks at the API, and this agent has no way to write there"];
      return;
    }
    this.#loading = true;
    blocks
      .load()
      .then(() => {
        if (this.#closed || this.#blocks !== blocks) return;
        this.#loaded = true;
        this.#failure = undefined;
        this.#enter("routed");
        this.#options.changed();
      })
      .catch((error) => {
        this.#failure = `the node's address blocks can't be read: ${reasonOf(error)}`;
        this.#options.log(this.#failure);
        this.#retry = setTimeout(() => {
          this.#retry = undefined;
          if (this.#asked === "routed") this.#load();
        }, RETRY_MS).unref();
      })
      .finally(() => {
        this.#loading = false;
      });
  }

  #enter(network: Network): void {
    if (this.#current === network) return;
    if (this.#current !== undefined) this.#options.log(`network: ${this.#current} → ${network}`);
    this.#current = network;
    writeFileSync(`${this.#file}.new`, network, { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }

  #dropBlocks(): void {
    this.#blocks?.close();
    this.#blocks = undefined;
    this.#loaded = false;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#blocks?.close();
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof KubernetesApiError && error.status === 404)
    return "the API server does not know their kinds (fairlead crds crd.projectcalico.org | kubectl apply --server-side -f -)";
  return messageOf(error);
}

function readNetwork(file: string): Network | undefined {
  try {
    const text = readFileSync(file, "utf8").trim();
    return NETWORKS.find((network) => network === text);
  } catch {
    return undefined;
  }
}
