// Connection tracking of one namespace.
import { type ErrnoName, isErrno } from "../errors.ts";
import type { Conntrack, ConntrackFilter, ConntrackFlow } from "../kernel.ts";
import { CONNTRACK_MESSAGE, conntrackRequest, decodeFlow, isExact, matchesFlow, nameOfFlow } from "../netlink/conntrack.ts";
import type { NetlinkSocket } from "./socket.ts";

/** What a walk of the kernel's through its table costs, in flows that are read: one that lists, and one that deletes by itself. */
const [LISTING, DELETING] = [2000, 300];
/** What a kernel answers that can't delete by a filter (before Linux 6.8): it takes the filter for an incomplete name. */
const NO_FILTER = ["EINVAL", "ENOENT", "EOPNOTSUPP"] as const;

/** `socket` gives the namespace's NETLINK_NETFILTER socket, opened at first need; `count` how many flows are its own, if that is known. */
export function openConntrack(socket: () => NetlinkSocket, count: () => number | undefined): Conntrack {
  /** What `take` makes of each flow that the kernel lists by the filter: of more than match, where it knows no filters. */
  const dump = <T>(filter: ConntrackFilter, take: (flow: ConntrackFlow, message: Uint8Array) => T | undefined): T[] =>
    socket().dump(
      CONNTRACK_MESSAGE.get,
      conntrackRequest(filter),
      ({ type, body }) => {
        const flow = type === CONNTRACK_MESSAGE.new ? decodeFlow(body) : undefined;
        return flow && take(flow, body);
      },
      { operation: "list tracked connections" },
    );
  const remove = (request: Uint8Array, expected: readonly ErrnoName[]): boolean => {
    try {
      socket().request(CONNTRACK_MESSAGE.delete, 0, request, { operation: "delete tracked connections" });
      return true;
    } catch (error) {
      if (!isErrno(error, ...expected)) throw error;
      return false;
    }
  };
  return {
    // The kernel's table is one for all namespaces, and a walk costs milliseconds: none where there is nothing.
    list: (filter = {}) => (count() === 0 ? [] : dump(filter, (flow) => (matchesFlow(filter, flow) ? flow : undefined))),
    delete(filters, only) {
      const own = count() ?? Number.POSITIVE_INFINITY;
      if (own === 0 || filters.length === 0) return;
      const walks = filters.length * (only ? LISTING : DELETING) < LISTING + own ? filters : [{}];
      for (const walk of walks) {
        if (walks === filters && !only && isExact(walk) && remove(conntrackRequest(walk), NO_FILTER)) continue;
        const goes = (flow: ConntrackFlow) => filters.some((filter) => matchesFlow(filter, flow)) && (!only || only(flow));
        // What is not there any more has ended by itself meanwhile.
        for (const name of dump(walk, (flow, body) => (goes(flow) ? nameOfFlow(body) : undefined))) remove(name, ["ENOENT"]);
      }
    },
  };
}
