// Answers with authority for zones from files.
import { type Name, RCODE, TYPE } from "../../message.ts";
import { alter, type Handler, mapReply, type Outcome, type Query, type Reply, reply } from "../../query.ts";
import { inZone, longestZone } from "../../wire/names.ts";
import { lookupZone, type Zone } from "./zone.ts";

export interface ZoneSite {
  readonly plugin: string;
  readonly zones: () => ReadonlyMap<Name, Zone | undefined>;
  /** Zones in which a name that is not there is left to the next plugin. */
  readonly fallthrough: readonly Name[];
  /** Asks the whole server, for targets beyond the zone. */
  resolve(query: Query): Outcome;
}

export function authoritative(next: Handler, site: ZoneSite): Handler {
  return {
    name: site.plugin,
    serve(query) {
      const zones = site.zones();
      const origin = longestZone(query.name, [...zones.keys()]);
      if (origin === undefined) return next.serve(query);
      const zone = zones.get(origin);
      if (!zone) return reply(site.plugin, { rcode: RCODE.SERVFAIL, error: `zone ${origin} could not be read yet` });
      const found = lookupZone(zone, query.name, query.type);
      if (found.kind === "no-name" && site.fallthrough.some((each) => inZone(query.name, each))) return next.serve(query);
      const own: Reply = reply(site.plugin, {
        rcode: found.kind === "no-name" ? RCODE.NXDOMAIN : RCODE.NOERROR,
        authoritative: found.kind !== "delegation",
        answers: found.answers,
        authorities: found.authorities,
        additionals: found.additionals,
      });
      if (found.leadsTo === undefined || query.type === TYPE.CNAME) return own;
      return mapReply(site.resolve(alter(query, { name: found.leadsTo })), (further) => ({
        ...own,
        answers: [...own.answers, ...further.answers],
      }));
    },
  };
}
