// glibc's resolver (2.26 and later) as a state machine: res_search, res_query and res_send, without the wire.
//
// A name with at least ndots dots is asked as it is first, then with each search element; one with fewer dots the other way
// round. Servers are asked one after the other; A and AAAA go out together, from one socket.
import { RCODE } from "../message.ts";
import {
  type Ask,
  absolute,
  type Candidate,
  dotsOf,
  isAskable,
  type LookupOptions,
  type LookupResult,
  type LookupStep,
  type Resolver,
} from "./lookup.ts";
import { type ResolverSettings, settingsOf } from "./resolv-conf.ts";

type Outcome = LookupResult["outcome"];

/** How A and AAAA go out; glibc falls back from one to the next when only one of two answers comes. */
type Pairing = "parallel" | "single-request" | "single-request-reopen";

interface Reply {
  readonly type: number;
  readonly rcode: number;
  readonly records: number;
}

export interface GlibcState {
  readonly options: LookupOptions;
  readonly settings: ResolverSettings;
  readonly candidates: readonly Candidate[];
  readonly at: number;
  readonly attempt: number;
  readonly server: number;
  readonly pairing: Pairing;
  readonly tcp: boolean;
  readonly asked: number;
  /** Questions of this round that wait for an answer, and types still to be asked one by one. */
  readonly waiting: readonly Ask[];
  readonly queue: readonly number[];
  readonly replies: readonly Reply[];
  /** What the names before ended with, in order: it decides the error at the end. */
  readonly failures: readonly { readonly searched: boolean; readonly outcome: Outcome; readonly stopped: boolean }[];
  readonly done: boolean;
}

export const glibc: Resolver<GlibcState> = {
  start(options) {
    const settings = settingsOf(options.conf, "glibc");
    const flags = settings.flags;
    const pairing = flags.has("single-request-reopen")
      ? "single-request-reopen"
      : flags.has("single-request")
        ? "single-request"
        : "parallel";
    const types = flags.has("no-aaaa") ? options.types.filter((type) => type !== 28) : options.types;
    const state: GlibcState = {
      options: { ...options, types },
      settings,
      candidates: candidatesOf(options, settings),
      at: 0,
      attempt: 0,
      server: 0,
      pairing,
      tcp: flags.has("use-vc"),
      asked: 0,
      waiting: [],
      queue: [],
      replies: [],
      failures: [],
      done: false,
    };
    return round(state, false);
  },

  step(state, event) {
    if (state.done) return still(state);
    if (event.type === "timeout") return onTimeout(state);
    const { ask, rcode, records } = event;
    if (!state.waiting.some(({ id }) => id === ask.id)) return still(state);
    // A cut answer is asked for again by TCP, both questions of the pair.
    if (event.truncated && !state.tcp) return round({ ...state, tcp: true }, true);
    const replies = [...state.replies, { type: ask.type, rcode, records }];
    const waiting = state.waiting.filter(({ id }) => id !== ask.id);
    const next = { ...state, replies, waiting };
    if (waiting.length > 0) return still(next);
    if (state.queue.length > 0) return askQueued(next, false);
    // A server that fails is one that did not answer: unless the other half of the pair has something to say, the next is asked.
    return replies.every(isFailure)
      ? nextServer(next)
      : conclude(
          next,
          replies.filter((reply) => !isFailure(reply)),
        );
  },
};

/** The names in the order in which they are tried. */
function candidatesOf({ conf, name }: LookupOptions, settings: ResolverSettings): Candidate[] {
  const asIs: Candidate = { name: absolute(name), search: undefined };
  if (name.endsWith(".")) return [asIs];
  const searched = conf.searches.map((search): Candidate => {
    const element = search.replace(/^\./, "");
    return { name: absolute(element === "" ? name : `${name}.${element}`), search };
  });
  // The root on the list is the name as it is.
  const rootListed = searched.some((candidate) => candidate.name === asIs.name);
  if (dotsOf(name) >= settings.ndots) return [asIs, ...searched];
  const notLast = rootListed || (settings.flags.has("no-tld-query") && dotsOf(name) === 0 && searched.length > 0);
  return notLast ? searched : [...searched, asIs];
}

function isFailure({ rcode }: Reply): boolean {
  return rcode === RCODE.SERVFAIL || rcode === RCODE.NOTIMP || rcode === RCODE.REFUSED;
}

function still(state: GlibcState): LookupStep<GlibcState> {
  return { state, asks: [], waitMs: waitOf(state) };
}

/** Asks the questions of the present name at the present server. */
function round(state: GlibcState, again: boolean): LookupStep<GlibcState> {
  const candidate = state.candidates[state.at];
  if (!candidate) return end(state);
  // A name that fits no question ends the search; the name as it is may still be tried.
  if (!isAskable(candidate.name)) return stopSearch(state, "failed");
  const together = state.pairing === "parallel";
  const queue = state.options.types;
  return askQueued({ ...state, queue: together ? [] : queue, waiting: [], replies: [] }, again, together ? queue : undefined);
}

function askQueued(state: GlibcState, again: boolean, types: readonly number[] = state.queue.slice(0, 1)): LookupStep<GlibcState> {
  const candidate = state.candidates[state.at];
  const servers = state.options.conf.nameservers;
  const first = state.settings.flags.has("rotate") ? (state.options.rotation ?? 0) + state.at : 0;
  const server = servers[(first + state.server) % servers.length] ?? "";
  const asks = types.map(
    (type, index): Ask => ({
      id: state.asked + index,
      name: candidate?.name ?? ".",
      type,
      server,
      transport: state.tcp ? "tcp" : "udp",
      search: candidate?.search,
      again,
    }),
  );
  const queue = state.queue.filter((type) => !types.includes(type));
  const next = { ...state, queue, waiting: [...state.waiting, ...asks], asked: state.asked + asks.length };
  return { state: next, asks, waitMs: waitOf(next) };
}

/** The first server gets the time of option `timeout`; later ones twice that and more, divided by their number; a second at least. */
function waitOf({ settings, server, options }: GlibcState): number {
  const seconds = settings.timeout * 2 ** server;
  return Math.max(1, server > 0 ? Math.floor(seconds / options.conf.nameservers.length) : seconds) * 1000;
}

function onTimeout(state: GlibcState): LookupStep<GlibcState> {
  const answered = state.replies.filter((reply) => !isFailure(reply));
  if (answered.length === 0) return nextServer(state);
  // One of two came: some servers can't do both at once, so they are asked one by one, at last from a socket each.
  if (state.pairing === "parallel") return round({ ...state, pairing: "single-request" }, true);
  if (state.pairing === "single-request") return round({ ...state, pairing: "single-request-reopen" }, true);
  return conclude(state, answered);
}

/** The next server, or the first again for the next attempt, or the end of this name. */
function nextServer(state: GlibcState): LookupStep<GlibcState> {
  const more = state.server + 1 < state.options.conf.nameservers.length;
  if (more) return round({ ...state, server: state.server + 1 }, true);
  if (state.attempt + 1 < state.settings.attempts) return round({ ...state, server: 0, attempt: state.attempt + 1 }, true);
  // SERVFAIL goes on with the next search element; silence, REFUSED and NOTIMP end the search.
  return state.replies[0]?.rcode === RCODE.SERVFAIL ? nextName(state, "try-again") : stopSearch(state, "try-again");
}

/** What the answers to one name mean (res_query). */
function conclude(state: GlibcState, replies: readonly Reply[]): LookupStep<GlibcState> {
  if (replies.some(({ rcode, records }) => rcode === RCODE.NOERROR && records > 0))
    return finish(state, { outcome: "found", name: state.candidates[state.at]?.name ?? "." });
  const rcode = replies.find((reply) => reply.rcode !== RCODE.NOERROR)?.rcode ?? RCODE.NOERROR;
  if (rcode === RCODE.NOERROR) return nextName(state, "no-data");
  return rcode === RCODE.NXDOMAIN ? nextName(state, "no-name") : stopSearch(state, "failed");
}

function nextName(state: GlibcState, outcome: Outcome): LookupStep<GlibcState> {
  return round({ ...after(state, outcome, false), at: state.at + 1 }, false);
}

/** No further search element: the name as it is comes last, if it has not been tried. If it was tried first, the search goes on. */
function stopSearch(state: GlibcState, outcome: Outcome): LookupStep<GlibcState> {
  if (state.candidates[state.at]?.search === undefined) return nextName(state, outcome);
  const last = state.candidates.findIndex((candidate, index) => index > state.at && candidate.search === undefined);
  return round({ ...after(state, outcome, true), at: last < 0 ? state.candidates.length : last }, false);
}

/** One name is over. */
function after(state: GlibcState, outcome: Outcome, stopped: boolean): GlibcState {
  const searched = state.candidates[state.at]?.search !== undefined;
  return {
    ...state,
    server: 0,
    attempt: 0,
    tcp: state.settings.flags.has("use-vc"),
    failures: [...state.failures, { searched, outcome, stopped }],
  };
}

/** The name as it is decides if it was asked first; else a name without data, then a failed server, then the last one. */
function end(state: GlibcState): LookupStep<GlibcState> {
  const [first] = state.failures;
  const saw = (outcome: Outcome) => state.failures.some((failure) => failure.searched && !failure.stopped && failure.outcome === outcome);
  if (first && !first.searched) return finish(state, { outcome: first.outcome });
  if (saw("no-data")) return finish(state, { outcome: "no-data" });
  if (saw("try-again")) return finish(state, { outcome: "try-again" });
  return finish(state, { outcome: state.failures.at(-1)?.outcome ?? "no-name" });
}

function finish(state: GlibcState, result: LookupResult): LookupStep<GlibcState> {
  return { state: { ...state, done: true, waiting: [], queue: [] }, asks: [], waitMs: 0, result };
}
