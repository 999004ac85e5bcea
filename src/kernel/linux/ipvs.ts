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
  parseIpvs,
  serviceDump,
  serviceQuestion,
} from "../netlink/ipvs.ts";
import type { NetlinkMessage } from "../netlink/message.ts";
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
      const services = parseIpvs(run(readListing));
      if (!services.some(({ persistence }) => persistence !== undefined)) return services;
      const told = socket().dump(family(), serviceDump(), ({ body }) => decodeService(body), { operation: "list IPVS services" });
      const times = new Map(told.map((service) => [ipvsKey(service), service.persistence]));
      return services.map((service) =>
        service.persistence === undefined ? service : { ...service, persistence: times.get(ipvsKey(service)) ?? 0 },
      );
    },
    read(service) {
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
    },
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

function readListing(): string {
  try {
    return readFileSync("/proc/thread-self/net/ip_vs", "utf8");
  } catch {
    // The module is not there, or not loaded: there is nothing.
    return "";
  }
}
