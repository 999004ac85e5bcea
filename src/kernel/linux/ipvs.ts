// IPVS of one namespace.
import { readFileSync } from "node:fs";
import { messageOf } from "../../base/index.ts";
import { isErrno } from "../errors.ts";
import type { Ipvs } from "../kernel.ts";
import { CONTROLLER, decodeFamilyNumber, encodeFamilyQuestion } from "../netlink/generic.ts";
import {
  decodeDestination,
  decodeService,
  destinationDump,
  encodeDestination,
  encodeService,
  IPVS_FAMILY,
  ipvsKey,
  parseDestinations,
  serviceDump,
  serviceQuestion,
} from "../netlink/ipvs.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
import type { IpvsService, IpvsServiceKey } from "../state.ts";
import type { NetlinkSocket } from "./socket.ts";

/** `run` executes a function inside the namespace, `socket` gives its NETLINK_GENERIC socket, opened at first need. */
export function openIpvs(run: <T>(action: () => T) => T, socket: () => NetlinkSocket): Ipvs {
  let number: number | undefined;
  const family = (): number => {
    number ??= socket().ask(CONTROLLER, encodeFamilyQuestion(IPVS_FAMILY), ({ body }) => decodeFamilyNumber(body), {
      operation: "use IPVS",
      remedy: "modprobe ip_vs, or balance Services by nftables",
    });
    return number ?? 0;
  };
  const read = (service: IpvsServiceKey): IpvsService | undefined => {
    const context = { operation: "read IPVS service", subject: ipvsKey(service) };
    try {
      const found = socket().ask(family(), serviceQuestion(service), ({ body }) => decodeService(body), context);
      if (!found) return undefined;
      const take = ({ body }: NetlinkMessage) => decodeDestination(body, found.family);
      return { ...found, destinations: socket().dump(family(), destinationDump(service), take, context) };
    } catch (error) {
      if (isErrno(error, "ESRCH")) return undefined;
      throw error;
    }
  };
  return {
    lack() {
      try {
        family();
        return undefined;
      } catch (error) {
        return isErrno(error, "ENOENT") ? "this kernel has no IPVS (module ip_vs)" : messageOf(error);
      }
    },
    list() {
      const listed = parseDestinations(run(readListing));
      // Nothing is asked of a kernel that need not load its module for it.
      if (listed.size === 0) return [];
      const told = socket().dump(family(), serviceDump(), ({ body }) => decodeService(body), { operation: "list IPVS services" });
      return told.flatMap((service) => {
        const destinations = listed.get(ipvsKey(service));
        return destinations ? { ...service, destinations } : (read(service) ?? []);
      });
    },
    read,
    apply(change) {
      const { op, service } = change;
      if ("destination" in change) {
        const { destination } = change;
        const subject = `${destination.address}:${destination.port} of ${ipvsKey(service)}`;
        socket().request(family(), 0, encodeDestination(op, service, destination), { operation: `${op} IPVS destination`, subject });
      } else
        socket().request(family(), 0, encodeService(op, change.service), { operation: `${op} IPVS service`, subject: ipvsKey(service) });
    },
  };
}

/**
 * All end points in one text, where netlink would be asked for each service. Before Linux 7 it may lack services where other
 * namespaces have some, too: from page to page the kernel counts those as well, and begins behind what it has not shown.
 */
function readListing(): string {
  try {
    return readFileSync("/proc/thread-self/net/ip_vs", "utf8");
  } catch {
    // The module is not there, or not loaded: there is nothing.
    return "";
  }
}
