// musl's resolver (1.2.4 and later) as a state machine, without the wire.
//
// A name with at least ndots dots is never searched for. Every question goes to every server at once, and the first usable
// answer counts. A name that exists without addresses ends the search, where glibc would go on.
import { RCODE } from "../message.ts";
import { type Ask, absolute, type Candidate, dotsOf, isAskable, type LookupOptions, type LookupStep, type Resolver } from "./lookup.ts";
import { type ResolverSettings, settingsOf } from "./resolv-conf.ts";

export interface MuslState {
  readonly options: LookupOptions;
  readonly settings: ResolverSettings;
  readonly candidates: readonly Candidate[];
  readonly at: number;
  /** Times that the present questions were sent. */
  readonly sent: number;
  readonly retriesLeft: number;
  readonly asked: number;
  readonly waiting: readonly Ask[];
  /** The usable answer to each type: rcode 0 or 3. */
  readonly answers: ReadonlyMap<number, { readonly rcode: number; readonly records: number }>;
  readonly done: boolean;
}

export const musl: Resolver<MuslState> = {
  start(options) {
    const settings = settingsOf(options.conf, "musl");
    const candidates = candidatesOf(options, settings);
    return round({ options, settings, candidates, at: 0, sent: 0, retriesLeft: 0, asked: 0, waiting: [], answers: new Map(), done: false });
  },

  step(state, event) {
    if (state.done) return still(state);
    if (event.type === "timeout") return state.sent < state.settings.attempts ? send(state, true) : finish(state, { outcome: "try-again" });
    const { ask, rcode, records } = event;
    if (!state.waiting.some(({ id }) => id === ask.id) || state.answers.has(ask.type)) return still(state);
    const waiting = state.waiting.filter(({ id }) => id !== ask.id);
    if (rcode === RCODE.SERVFAIL && state.retriesLeft > 0) {
      // A server that fails is asked again at once, a few times.
      const again = { ...ask, id: state.asked, again: true };
      const next = { ...state, retriesLeft: state.retriesLeft - 1, asked: state.asked + 1, waiting: [...waiting, again] };
      return { state: next, asks: [again], waitMs: waitOf(state) };
    }
    // Any other error is waited over: another server may know better.
    if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) return still({ ...state, waiting });
    if (event.truncated && ask.transport === "udp") {
      const again: Ask = { ...ask, id: state.asked, transport: "tcp", again: true };
      return { state: { ...state, asked: state.asked + 1, waiting: [...waiting, again] }, asks: [again], waitMs: waitOf(state) };
    }
    const next = { ...state, waiting, answers: new Map(state.answers).set(ask.type, { rcode, records }) };
    return next.answers.size === state.options.types.length ? conclude(next) : still(next);
  },
};

function candidatesOf({ conf, name }: LookupOptions, settings: ResolverSettings): Candidate[] {
  const asIs: Candidate = { name: absolute(name), search: undefined };
  if (name.endsWith(".") || dotsOf(name) >= settings.ndots) return [asIs];
  const searched = conf.searches.map((search): Candidate => ({ name: absolute(`${name}.${search}`), search }));
  // A name that fits no question is passed over.
  return [...searched.filter((candidate) => isAskable(candidate.name)), asIs];
}

function still(state: MuslState): LookupStep<MuslState> {
  return { state, asks: [], waitMs: waitOf(state) };
}

/** The time of option `timeout` is for all attempts together. */
function waitOf({ settings }: MuslState): number {
  return Math.floor((settings.timeout * 1000) / settings.attempts);
}

function round(state: MuslState): LookupStep<MuslState> {
  const candidate = state.candidates[state.at];
  if (!candidate) return finish(state, { outcome: "no-name" });
  if (!isAskable(candidate.name)) return finish(state, { outcome: "no-name" });
  return send({ ...state, sent: 0, waiting: [], answers: new Map() }, false);
}

/** Sends what has no answer yet to every server. */
function send(state: MuslState, again: boolean): LookupStep<MuslState> {
  const candidate = state.candidates[state.at];
  const open = state.options.types.filter((type) => !state.answers.has(type));
  const asks = open
    .flatMap((type) => state.options.conf.nameservers.map((server) => ({ type, server })))
    .map(
      ({ type, server }, index): Ask => ({
        id: state.asked + index,
        name: candidate?.name ?? ".",
        type,
        server,
        transport: "udp",
        search: candidate?.search,
        again,
      }),
    );
  const retriesLeft = 2 * state.options.types.length;
  const next = { ...state, retriesLeft, sent: state.sent + 1, asked: state.asked + asks.length, waiting: [...state.waiting, ...asks] };
  return { state: next, asks, waitMs: waitOf(next) };
}

function conclude(state: MuslState): LookupStep<MuslState> {
  const answers = [...state.answers.values()];
  if (answers.some(({ rcode }) => rcode === RCODE.NXDOMAIN)) return round({ ...state, at: state.at + 1 });
  if (answers.some(({ records }) => records > 0)) return finish(state, { outcome: "found", name: state.candidates[state.at]?.name ?? "." });
  return finish(state, { outcome: "no-data" });
}

function finish(state: MuslState, result: NonNullable<LookupStep<MuslState>["result"]>): LookupStep<MuslState> {
  return { state: { ...state, done: true, waiting: [] }, asks: [], waitMs: 0, result };
}
