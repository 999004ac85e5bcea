// Connection tracking of one namespace.
import { type ErrnoName, isErrno } from "../errors.ts";
import type { Conntrack, ConntrackFilter, ConntrackFlow } from "../kernel.ts";
import { CONNTRACK_MESSAGE, conntrackRequest, decodeFlow, isExact, matchesFlow, nameOfFlow } from "../netlink/conntrack.ts";
import { requestAway } from "./away.ts";
import type { NetlinkSocket } from "./socket.ts";

/** What a walk of the kernel's through its table costs, in flows that are read: one that lists, and one that deletes by itself. */
const [LISTING, DELETING] = [2000, 300];
/** What a kernel answers that can't delete by a filter (before Linux 6.8): it takes the filter for an incomplete name. */
const NO_FILTER: readonly ErrnoName[] = ["EINVAL", "ENOENT", "EOPNOTSUPP"];
const DELETE = { operation: "delete tracked connections" };

/**
 * `open` makes a NETLINK_NETFILTER socket in the namespace, `socket` gives one that is kept, `count` tells how many flows are its
 * own, if that is known.
 */
export function openConntrack(open: () => NetlinkSocket, socket: () => NetlinkSocket, count: () => number | undefined): Conntrack {
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
  /** Has the kernel delete by itself; whether it can. */
  const deleteAway = async (filter: ConntrackFilter): Promise<boolean> => {
    try {
      await requestAway(open, { type: CONNTRACK_MESSAGE.delete, body: conntrackRequest(filter) }, DELETE);
      return true;
    } catch (error) {
      if (!isErrno(error, ...NO_FILTER)) throw error;
      return false;
    }
  };
  const deleteNamed = (name: Uint8Array): void => {
    try {
      socket().request(CONNTRACK_MESSAGE.delete, 0, name, DELETE);
    } catch (error) {
      // It has ended by itself meanwhile.
      if (!isErrno(error, "ENOENT")) throw error;
    }
  };
  return {
    // The kernel's table is one for all namespaces, and a walk costs milliseconds: none where there is nothing.
    list: (filter = {}) => (count() === 0 ? [] : dump(filter, (flow) => (matchesFlow(filter, flow) ? flow : undefined))),
    async delete(filters, only) {
      const own = count() ?? Number.POSITIVE_INFINITY;
      if (own === 0 || filters.length === 0) return;
      const walks = filters.length * (only ? LISTING : DELETING) < LISTING + own ? filters : [{}];
      const goes = (flow: ConntrackFlow) => filters.some((filter) => matchesFlow(filter, flow)) && (!only || only(flow));
      for (const walk of walks) {
        if (walks === filters && !only && isExact(walk) && (await deleteAway(walk))) continue;
        for (const name of dump(walk, (flow, message) => (goes(flow) ? nameOfFlow(message) : undefined))) deleteNamed(name);
      }
    },
  };
}
