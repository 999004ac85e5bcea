// Answers for the cluster's zones from a directory; what is asked often is kept as a whole reply until anything changes.

import { Generations } from "../../generations.ts";
import { type Name, RCODE } from "../../message.ts";
import { alter, type Handler, mapReply, type Outcome, type Query, type Reply, reply } from "../../query.ts";
import { keep } from "../../serve/reply-writer.ts";
import { inZone, longestZone } from "../../wire/names.ts";
import { findAnswer, soaRecord, type ZoneOptions } from "./answers.ts";
import type { Directory } from "./directory.ts";

export interface KubernetesOptions {
  readonly zone: ZoneOptions;
  /** Names in these zones that do not exist are left to the next plugin. */
  readonly fallthrough: readonly Name[];
  readonly directory: () => Directory;
  readonly synced: () => boolean;
  /** Asks the whole server, for the target of an ExternalName. */
  readonly resolve: (query: Query) => Outcome;
}

/** Replies kept; beyond that those are forgotten that were not asked for lately. */
const KEPT = 20_000;
/** Aliases that are followed; a longer chain is a circle. */
const MAX_ALIASES = 8;

export interface KubernetesHandler extends Handler {
  /** Forgets what is kept; to be called after each change. */
  changed(): void;
  /** Where a pod's resolver looks names up; undefined where no pod has the asker's address. */
  searchPath(query: Query): readonly Name[] | undefined;
}

export function createKubernetes(options: KubernetesOptions, next: Handler): KubernetesHandler {
  return new Kubernetes(options, next);
}

class Kubernetes implements KubernetesHandler {
  readonly name = "kubernetes";
  readonly #options: KubernetesOptions;
  readonly #next: Handler;
  /** By type, then name: positive answers only, so a flood of names that do not exist pushes nothing out. */
  readonly #kept = new Map<number, Generations<Name, Reply>>();
  readonly #negative = new Map<string, Reply>();

  constructor(options: KubernetesOptions, next: Handler) {
    this.#options = options;
    this.#next = next;
  }

  changed(): void {
    for (const replies of this.#kept.values()) replies.clear();
    this.#negative.clear();
  }

  serve(query: Query): Outcome {
    const { zone: zoneOptions, synced } = this.#options;
    if (query.class !== 1) return this.#next.serve(query);
    const kept = this.#kept.get(query.type)?.get(query.name);
    if (kept) return kept;
    const zone = longestZone(query.name, zoneOptions.zones);
    if (zone === undefined) return this.#next.serve(query);
    if (!synced()) return NOT_SYNCED;
    return this.#answer(query, zone, 0);
  }

  #answer(query: Query, zone: Name, aliases: number): Outcome {
    const { zone: zoneOptions, directory, fallthrough } = this.#options;
    const found = findAnswer(directory(), zoneOptions, { name: query.name, type: query.type, zone });
    if (found.kind === "missing") {
      if (fallthrough.some((each) => inZone(query.name, each))) return this.#next.serve(query);
      return this.#without(zone, RCODE.NXDOMAIN);
    }
    if (found.kind === "alias") return this.#follow(query, zone, found, aliases);
    if (found.records.length === 0) return this.#without(zone, RCODE.NOERROR);
    const additionals = found.additionals ?? [];
    const made = keep(reply("kubernetes", { authoritative: true, answers: found.records, additionals }));
    let replies = this.#kept.get(query.type);
    if (!replies) {
      // Types that nothing answers have no replies, so these are few.
      replies = new Generations(KEPT);
      this.#kept.set(query.type, replies);
    }
    replies.set(query.name, made);
    return made;
  }

  /** NXDOMAIN, or NOERROR without answers: the same for every name of the zone. */
  #without(zone: Name, rcode: number): Reply {
    const key = `${rcode} ${zone}`;
    let made = this.#negative.get(key);
    if (!made) {
      const { directory, zone: zoneOptions } = this.#options;
      made = reply("kubernetes", { rcode, authoritative: true, authorities: [soaRecord(directory(), zoneOptions, zone)] });
      this.#negative.set(key, made);
    }
    return made;
  }

  /** The alias, and what its target stands for: in the cluster's zones, or wherever the server finds it. */
  #follow(query: Query, zone: Name, found: Extract<ReturnType<typeof findAnswer>, { kind: "alias" }>, aliases: number): Outcome {
    const target = alter(query, { name: found.target });
    const inside = inZone(found.target, zone);
    if (inside && (aliases >= MAX_ALIASES || found.target === query.name))
      return reply("kubernetes", { rcode: RCODE.SERVFAIL, error: `${found.target} is an alias of itself` });
    const outcome = inside ? this.#answer(target, zone, aliases + 1) : this.#options.resolve(target);
    return mapReply(outcome, (given) => {
      // Half an answer would be kept by the asker as if it were whole.
      if (given.rcode !== RCODE.NOERROR && given.rcode !== RCODE.NXDOMAIN)
        return reply("kubernetes", { rcode: RCODE.SERVFAIL, error: given.error ?? `the target ${found.target} cannot be resolved` });
      const { truncated } = given;
      return reply("kubernetes", { authoritative: true, truncated, answers: [found.record, ...given.answers] });
    });
  }

  searchPath(query: Query): readonly Name[] | undefined {
    const { zone, directory } = this.#options;
    if (zone.pods !== "verified" || longestZone(query.name, zone.zones) === undefined) return undefined;
    const [pod] = directory().podsByAddress(query.origin.address);
    if (!pod) return undefined;
    const below = zone.domain === "." ? "" : zone.domain;
    return [`${pod.metadata.namespace ?? ""}.svc.${below}`, `svc.${below}`, zone.domain];
  }
}

const NOT_SYNCED = reply("kubernetes", { rcode: RCODE.SERVFAIL, error: "the cluster's objects have not been read yet" });
