// A name's look-up as a C library does it: what both resolvers share, and which of them steps.
//
//   start ─▶ asks ─▶ (the wire) ─▶ answer or timeout ─▶ step ─▶ asks … or a result
import type { ResolvConf, ResolverKind } from "./resolv-conf.ts";

export interface LookupOptions {
  readonly resolver: ResolverKind;
  readonly conf: ResolvConf;
  /** As the program gave it: "mysql", "example.com", "example.com." */
  readonly name: string;
  /** Record types that are asked for together: A and AAAA for getaddrinfo without a family. */
  readonly types: readonly number[];
  /** glibc's option rotate starts at a server of chance: this one (0 if not given). */
  readonly rotation?: number;
}

/** One question as it goes on the wire. */
export interface Ask {
  /** Counts the questions of the look-up, from 0. */
  readonly id: number;
  /** With its final dot. */
  readonly name: string;
  readonly type: number;
  readonly server: string;
  readonly transport: "udp" | "tcp";
  /** Why this name: the search element that was added, or none. */
  readonly search: string | undefined;
  /** It was asked before: no answer came, or the server failed. */
  readonly again: boolean;
}

export type LookupEvent =
  | {
      readonly type: "answer";
      readonly ask: Ask;
      readonly rcode: number;
      /** Number of records in the answer section. */
      readonly records: number;
      readonly truncated?: boolean;
    }
  /** The time of the last step is over, and some of its questions have no answer. */
  | { readonly type: "timeout" };

/** How it ended. `no-name`: EAI_NONAME; `no-data`: the name is there, without such records; `try-again`: EAI_AGAIN; `failed`: EAI_FAIL. */
export interface LookupResult {
  readonly outcome: "found" | "no-name" | "no-data" | "try-again" | "failed";
  /** The name that was found. */
  readonly name?: string;
}

export interface LookupStep<State> {
  readonly state: State;
  readonly asks: readonly Ask[];
  /** How long to wait for all of them, in milliseconds. */
  readonly waitMs: number;
  readonly result?: LookupResult;
}

export interface Resolver<State> {
  start(options: LookupOptions): LookupStep<State>;
  /** Answers to questions that no longer count change nothing. */
  step(state: State, event: LookupEvent): LookupStep<State>;
}

/** One name that is tried. */
export interface Candidate {
  readonly name: string;
  readonly search: string | undefined;
}

/** Number of dots, as the resolvers count them: all of them, a final one too. */
export function dotsOf(name: string): number {
  return name.split(".").length - 1;
}

/** A name that fits into a question: 253 characters, labels of 1 to 63. */
export function isAskable(name: string): boolean {
  const text = name.endsWith(".") ? name.slice(0, -1) : name;
  return text === "" ? name === "." : text.length <= 253 && text.split(".").every((label) => label.length > 0 && label.length <= 63);
}

export function absolute(name: string): string {
  return name.endsWith(".") ? name : `${name}.`;
}
