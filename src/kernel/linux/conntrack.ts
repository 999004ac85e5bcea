// Connection tracking of one namespace.
import type { Family } from "../../base/index.ts";
import { isErrno } from "../errors.ts";
import type { Conntrack, ConntrackFilter, ConntrackFlow } from "../kernel.ts";
import { CONNTRACK_MESSAGE, conntrackDump, decodeFlow, matchesFlow, type TrackedFlow } from "../netlink/conntrack.ts";
import type { NetlinkSocket } from "./socket.ts";

/** `socket` gives the namespace's NETLINK_NETFILTER socket, opened at first need; `count` how many flows are its own, if that is known. */
export function openConntrack(socket: () => NetlinkSocket, count: () => number | undefined): Conntrack {
  const find = (family: Family | undefined, wanted: (flow: ConntrackFlow) => boolean): TrackedFlow[] => {
    // The kernel's table is one for all namespaces, and a walk costs milliseconds: none where there is nothing, one for both families.
    if (count() === 0) return [];
    return socket().dump(
      CONNTRACK_MESSAGE.get,
      conntrackDump(family),
      (message) => {
        const tracked = message.type === CONNTRACK_MESSAGE.new ? decodeFlow(message.body) : undefined;
        return tracked && wanted(tracked.flow) ? tracked : undefined;
      },
      { operation: "list tracked connections" },
    );
  };
  return {
    list: (filter: ConntrackFilter = {}) => find(filter.family, (flow) => matchesFlow(filter, flow)).map(({ flow }) => flow),
    delete(filter) {
      const wanted = typeof filter === "function" ? filter : (flow: ConntrackFlow) => matchesFlow(filter, flow);
      let deleted = 0;
      for (const { name } of find(typeof filter === "function" ? undefined : filter.family, wanted)) {
        try {
          socket().request(CONNTRACK_MESSAGE.delete, 0, name, { operation: "delete tracked connection" });
          deleted++;
        } catch (error) {
          // It ended by itself meanwhile.
          if (!isErrno(error, "ENOENT")) throw error;
        }
      }
      return deleted;
    },
  };
}
