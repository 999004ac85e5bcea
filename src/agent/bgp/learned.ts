// Routes that the neighbours announced, as the kernel is to have them, kept on disk: a restarted agent goes on where it was.
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { messageOf } from "../../base/index.ts";
import type { RouteChange } from "../../bgp/index.ts";
import type { LearnedRoute } from "../../datapath/routed/index.ts";

/** Changes go to disk together, at most this often, in milliseconds. */
const SAVE_EVERY_MS = 500;
const VERSION = 1;

export interface LearnedRoutes {
  /** What was kept of an earlier life of this agent, if the kernel is still the same; undefined if not. */
  readonly kept: boolean;
  readonly list: readonly LearnedRoute[];
  /** Takes changes in; whether anything is other now. */
  take(changes: readonly RouteChange[]): boolean;
  /** These are all; whether anything is other now. */
  replace(routes: readonly RouteChange[]): boolean;
  close(): void;
}

/** Opens the file. `boot` names the life of the kernel: routes of an earlier one are gone. */
export function openLearnedRoutes(file: string, boot: string, log: (message: string) => void): LearnedRoutes {
  const kept = load(file, boot);
  let routes = new Map((kept ?? []).map((route) => [route.prefix, route]));
  let list: readonly LearnedRoute[] | undefined;
  let saver: NodeJS.Timeout | undefined;

  const save = () => {
    saver = undefined;
    try {
      writeFileSync(`${file}.new`, JSON.stringify({ version: VERSION, boot, routes: [...routes.values()] }), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      log(`learned routes not saved: ${messageOf(error)}`);
    }
  };
  const changed = () => {
    list = undefined;
    saver ??= setTimeout(save, SAVE_EVERY_MS).unref();
    return true;
  };
  const put = (to: Map<string, LearnedRoute>, { prefix, nextHops = [] }: RouteChange) => {
    const hops = nextHops.map(({ address }) => address).filter((address) => address !== "");
    const before = to.get(prefix);
    if (hops.length === 0) return to.delete(prefix);
    if (before && before.nextHops.join() === hops.join()) return false;
    to.set(prefix, { prefix, nextHops: hops, peer: nextHops[0]?.peer ?? "" });
    return true;
  };

  return {
    kept: kept !== undefined,
    get list() {
      list ??= [...routes.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
      return list;
    },
    take(changes) {
      let any = false;
      for (const change of changes) if (put(routes, change)) any = true;
      return any && changed();
    },
    replace(all) {
      const next = new Map<string, LearnedRoute>();
      for (const route of all) put(next, route);
      const same =
        next.size === routes.size && [...next].every(([prefix, { nextHops }]) => routes.get(prefix)?.nextHops.join() === nextHops.join());
      routes = next;
      return !same && changed();
    },
    close() {
      if (!saver) return;
      clearTimeout(saver);
      save();
    },
  };
}

function load(file: string, boot: string): LearnedRoute[] | undefined {
  try {
    const saved = JSON.parse(readFileSync(file, "utf8")) as { version?: number; boot?: string; routes?: LearnedRoute[] };
    if (saved.version === VERSION && saved.boot === boot && Array.isArray(saved.routes)) return saved.routes;
    rmSync(file, { force: true });
  } catch {
    // There is none, or it is damaged: the neighbours tell again.
  }
  return undefined;
}
