// Answers A, AAAA and PTR from a table of hosts.
import { familyOf } from "../../../base/index.ts";
import { CLASS, type Name, RCODE, type ResourceRecord, TYPE } from "../../message.ts";
import { type Handler, reply } from "../../query.ts";
import { inZone, longestZone } from "../../wire/names.ts";
import type { HostsTable } from "./hosts-file.ts";
import { addressOfReverse } from "./reverse.ts";

export interface HostsOptions {
  readonly zones: readonly Name[];
  ttl: number;
  /** Also from addresses to names. */
  reverse: boolean;
  /** Zones in which a name that the table lacks is left to the next plugin. */
  fallthrough: readonly Name[];
}

export function answered(next: Handler, table: HostsTable, options: HostsOptions): Handler {
  return {
    name: "hosts",
    serve(query) {
      const { name, type } = query;
      const within = longestZone(name, options.zones) !== undefined;
      if (type === TYPE.PTR) {
        // Reverse zones need not be named; what the table lacks always goes on.
        const address = options.reverse ? addressOfReverse(name) : undefined;
        const names = address === undefined ? [] : table.names(address);
        if (names.length === 0) return next.serve(query);
        return found(names.map((target) => record(name, options.ttl, { type: "PTR", target })));
      }
      if (!within) return next.serve(query);
      const all = table.addresses(name);
      const wanted = type === TYPE.A ? 4 : type === TYPE.AAAA ? 6 : undefined;
      const addresses = all.filter((address) => familyOf(address) === wanted);
      if (addresses.length > 0)
        return found(addresses.map((address) => record(name, options.ttl, { type: wanted === 4 ? "A" : "AAAA", address })));
      // The name is there, with other types.
      if (all.length > 0) return found([]);
      if (options.fallthrough.some((zone) => inZone(name, zone))) return next.serve(query);
      // Without an SOA there is no denial that could be cached: a failure is what is left to say.
      return reply("hosts", { rcode: RCODE.SERVFAIL });
    },
  };
}

function found(answers: readonly ResourceRecord[]) {
  return reply("hosts", { authoritative: true, answers });
}

function record(name: Name, ttl: number, data: ResourceRecord["data"]): ResourceRecord {
  return { name, class: CLASS.IN, ttl, data };
}
