// IPVS over generic netlink (linux/ip_vs.h), and its listing in /proc/net/ip_vs.
//
// Services are written, asked for and listed by netlink. Their destinations are read from /proc: there, those of all services are
// one text, where netlink needs a dump for each.
import {
  addressFromBytes,
  addressToBytes,
  formatAddress,
  parseAddress,
  TRANSPORTS,
  transportName,
  tryParseAddress,
} from "../../base/index.ts";
import type { IpvsDestination, IpvsService, IpvsServiceKey } from "../state.ts";
import { decodeAttributes, encodeAttributes } from "./attribute.ts";
import { familyFromNumber, familyNumber } from "./family.ts";
import { encodeGeneric, genericAttributes } from "./generic.ts";

export const IPVS_FAMILY = "IPVS";

const COMMAND = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
};

const SERVICE = {
  family: [1, "u16"],
  protocol: [2, "u16"],
  address: [3, "bytes"],
  port: [4, "be16"],
  fwmark: [5, "u32"],
  scheduler: [6, "string"],
  flags: [7, "bytes"],
  timeout: [8, "u32"],
  netmask: [9, "u32"],
} as const;

const DESTINATION = {
  address: [1, "address"],
  port: [2, "be16"],
  method: [3, "u32"],
  weight: [4, "u32"],
  most: [5, "u32"],
  least: [6, "u32"],
} as const;

const COMMAND_ATTRIBUTES = { service: [1, SERVICE], destination: [2, DESTINATION] } as const;

/** As the kernel tells it: addresses of both families in 16 bytes. */
const LISTED_DESTINATION = {
  address: [1, "bytes"],
  port: [2, "be16"],
  weight: [4, "u32"],
  active: [7, "u32"],
  inactive: [8, "u32"],
} as const;
const LISTED_ATTRIBUTES = { destination: [2, LISTED_DESTINATION] } as const;

const PERSISTENT = 0x1;
const MASQUERADE = 0;

export type IpvsOperation = "add" | "set" | "delete";

function keyAttributes({ family, protocol, address, port }: IpvsServiceKey) {
  const bytes = new Uint8Array(16);
  bytes.set(addressToBytes(parseAddress(address)));
  return { family: familyNumber(family), protocol: TRANSPORTS[protocol], address: bytes, port };
}

/** The body that adds, sets or deletes a service. */
export function encodeService(operation: IpvsOperation, service: IpvsService): Uint8Array {
  const command = { add: COMMAND.newService, set: COMMAND.setService, delete: COMMAND.deleteService }[operation];
  const key = keyAttributes(service);
  if (operation === "delete") return encodeGeneric(command, encodeAttributes(COMMAND_ATTRIBUTES, { service: key }));
  const persistent = service.persistence !== undefined;
  // Flags, and which of them are meant, each of 32 bits.
  const flags = Uint8Array.of(persistent ? PERSISTENT : 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
  const more = {
    scheduler: service.scheduler,
    flags,
    timeout: service.persistence ?? 0,
    netmask: service.family === 4 ? 0xffff_ffff : 128,
  };
  return encodeGeneric(command, encodeAttributes(COMMAND_ATTRIBUTES, { service: { ...key, ...more } }));
}

/** The body that adds, sets or deletes a destination of a service. */
export function encodeDestination(operation: IpvsOperation, service: IpvsServiceKey, destination: IpvsDestination): Uint8Array {
  const command = { add: COMMAND.newDestination, set: COMMAND.setDestination, delete: COMMAND.deleteDestination }[operation];
  const { address, port, weight } = destination;
  const values = operation === "delete" ? { address, port } : { address, port, method: MASQUERADE, weight, most: 0, least: 0 };
  return encodeGeneric(command, encodeAttributes(COMMAND_ATTRIBUTES, { service: keyAttributes(service), destination: values }));
}

/** The body of a dump of all services. */
export function serviceDump(): Uint8Array {
  return encodeGeneric(COMMAND.getService, new Uint8Array(0));
}

/** Asks for one service. */
export function serviceQuestion(service: IpvsServiceKey): Uint8Array {
  return encodeGeneric(COMMAND.getService, encodeAttributes(COMMAND_ATTRIBUTES, { service: keyAttributes(service) }));
}

/** The body of a dump of one service's destinations. */
export function destinationDump(service: IpvsServiceKey): Uint8Array {
  return encodeGeneric(COMMAND.getDestination, encodeAttributes(COMMAND_ATTRIBUTES, { service: keyAttributes(service) }));
}

/** A service as the kernel tells it, without destinations; undefined for one that is known by a mark. */
export function decodeService(body: Uint8Array): IpvsService | undefined {
  const { service } = decodeAttributes(COMMAND_ATTRIBUTES, genericAttributes(body));
  const family = familyFromNumber(service?.family ?? 0);
  const protocol = transportName(service?.protocol);
  const address = family && addressIn(family, service?.address);
  if (!service || !family || !protocol || address === undefined) return undefined;
  const { port = 0, scheduler = "", flags, timeout = 0 } = service;
  const persistent = ((flags?.[0] ?? 0) & PERSISTENT) !== 0;
  return { family, protocol, address, port, scheduler, ...(persistent ? { persistence: timeout } : {}), destinations: [] };
}

/** A destination with its connections, of a service of this family. */
export function decodeDestination(body: Uint8Array, family: 4 | 6): IpvsDestination | undefined {
  const { destination } = decodeAttributes(LISTED_ATTRIBUTES, genericAttributes(body));
  const address = addressIn(family, destination?.address);
  if (!destination || address === undefined) return undefined;
  const { port = 0, weight = 0, active = 0, inactive = 0 } = destination;
  return { address, port, weight, active, inactive };
}

function addressIn(family: 4 | 6, bytes: Uint8Array | undefined): string | undefined {
  const length = family === 4 ? 4 : 16;
  return bytes === undefined || bytes.length < length ? undefined : formatAddress(addressFromBytes(bytes.subarray(0, length)));
}

/** "tcp 10.96.0.10:53" */
export function ipvsKey({ protocol, address, port }: IpvsServiceKey): string {
  return `${protocol} ${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** The destinations in /proc/net/ip_vs, by the key of their service. What is not understood is left out. */
export function parseDestinations(text: string): Map<string, IpvsDestination[]> {
  const services = new Map<string, IpvsDestination[]>();
  let open: IpvsDestination[] | undefined;
  for (const line of text.split("\n")) {
    const indented = line.startsWith("  ->");
    const service = indented ? null : /^(TCP|UDP|SCTP) +(\S+):([0-9A-F]{4}) /.exec(line);
    const destination = indented ? /^ {2}-> (\S+):([0-9A-F]{4}) +\S+ +(-?\d+) +(\d+) +(\d+)/.exec(line) : null;
    if (service) {
      const [, name = "", address = "", port = ""] = service;
      open = undefined;
      const parsed = addressOf(address);
      if (!parsed) continue;
      open = [];
      const protocol = name.toLowerCase() as IpvsService["protocol"];
      services.set(ipvsKey({ ...parsed, protocol, port: Number.parseInt(port, 16) }), open);
    } else if (destination && open) {
      const [, address = "", port = "", weight = "", active = "", inactive = ""] = destination;
      const parsed = addressOf(address);
      if (!parsed) continue;
      open.push({
        address: parsed.address,
        port: Number.parseInt(port, 16),
        weight: Number(weight),
        active: Number(active),
        inactive: Number(inactive),
      });
    } else if (!indented) open = undefined;
  }
  return services;
}

/** "0A60000A" or "[fd00:…]" */
function addressOf(text: string): { readonly family: 4 | 6; readonly address: string } | undefined {
  if (/^[0-9A-F]{8}$/.test(text)) {
    const number = Number.parseInt(text, 16);
    return { family: 4, address: `${number >>> 24}.${(number >>> 16) & 255}.${(number >>> 8) & 255}.${number & 255}` };
  }
  const parsed = text.startsWith("[") ? tryParseAddress(text.slice(1, -1)) : undefined;
  return parsed?.family === 6 ? { family: 6, address: formatAddress(parsed) } : undefined;
}
