// One rule of a Calico policy or profile.
import type { Owner } from "../../kernel/index.ts";
import { ANYONE, type Direction, type IcmpMatch, type Rule, type Traffic } from "../rules.ts";
import { type Entity, readEntity } from "./entity.ts";
import { Place, type Remarks } from "./place.ts";
import { protocolNumber } from "./protocols.ts";

/** Maps, not objects: an object also has what it inherits, such as "constructor". */
const ACTIONS: ReadonlyMap<unknown, Rule["action"]> = new Map([
  ["Allow", "allow"],
  ["Deny", "deny"],
  ["Log", "log"],
  ["Pass", "pass"],
]);
const FIELDS = ["action", "ipVersion", "protocol", "notProtocol", "icmp", "notICMP", "source", "destination", "http", "metadata"];
/** TCP, UDP, SCTP: what has ports. */
const PORTED: readonly number[] = [6, 17, 132];

export interface RuleContext {
  readonly namespace: string | undefined;
  readonly direction: Direction;
  readonly owner: Owner;
  readonly remarks: Remarks;
}

/**
 * Reads one rule. One that is not understood fails closed: a Deny denies all that is understood of it, any other action
 * matches nothing.
 */
export function readRule(value: unknown, path: string, { namespace, direction, owner, remarks }: RuleContext): Rule {
  let wrong = false;
  const counting: Remarks = {
    wrong: (at, says) => {
      wrong = true;
      remarks.wrong(at, says);
    },
    note: remarks.note,
  };
  const place = new Place(value, path, counting);
  const fields = place.object(FIELDS);
  const action = ACTIONS.get(fields.action);
  if (action === undefined)
    place.at("action").wrong(`${JSON.stringify(fields.action)} is no action: Allow, Deny, Log, Pass; it is taken as Deny`);
  const source = readEntity(place.at("source"), { namespace, which: "source" });
  const destination = readEntity(place.at("destination"), { namespace, which: "destination" });
  checkServices(place, direction);
  const traffic = readTraffic(place, { source, destination });
  const family = readFamily(place);
  const application = typeof fields.http === "object" && fields.http !== null ? { http: fields.http } : undefined;
  if (application && action !== "allow") place.at("http").wrong("http goes with Allow only");
  else if (application)
    place.at("http").note("what is asked of HTTP is not enforced by this data path: until it is, the rule allows nothing");
  // Nothing at all is taken for what is not understood, but what a Deny surely means.
  if (action === undefined) return { action: "deny", source: ANYONE, destination: ANYONE, traffic: "any", owner };
  if (wrong && action !== "deny") return { action, source: { within: [[]], except: [] }, destination: ANYONE, traffic: "any", owner };
  return {
    action,
    source: source.side,
    destination: destination.side,
    traffic,
    ...(family === undefined ? {} : { family }),
    ...(application ? { application } : {}),
    owner,
  };
}

function checkServices(place: Place, direction: Direction): void {
  const side = direction === "ingress" ? "destination" : "source";
  const services = place.at(side).at("services");
  if (services.given)
    services.wrong(`services are meant at the other end only: the ${direction === "ingress" ? "source" : "destination"} of ${direction}`);
}

function readFamily(place: Place): 4 | 6 | undefined {
  const version = place.at("ipVersion");
  if (!version.given) return undefined;
  return version.value === 4 || version.value === 6 ? version.value : version.wrong(`${JSON.stringify(version.value)} is neither 4 nor 6`);
}

function readTraffic(place: Place, { source, destination }: { readonly source: Entity; readonly destination: Entity }): Rule["traffic"] {
  const protocol = readProtocol(place.at("protocol"));
  const notProtocol = readProtocol(place.at("notProtocol"));
  const icmp = readIcmp(place.at("icmp"), protocol);
  const notIcmp = readIcmp(place.at("notICMP"), protocol);
  const ports = { ports: destination.ports, notPorts: destination.notPorts, sourcePorts: source.ports, notSourcePorts: source.notPorts };
  const given = Object.entries(ports).filter(([, list]) => list !== undefined);
  if (given.length > 0 && (protocol === undefined || !PORTED.includes(protocol)))
    place.at("protocol").wrong(`${JSON.stringify(place.at("protocol").value)} has no ports: with ports, protocol is TCP, UDP or SCTP`);
  const traffic: Traffic = {
    ...(protocol === undefined ? {} : { protocol }),
    ...(notProtocol === undefined ? {} : { notProtocol }),
    ...(icmp ? { icmp } : {}),
    ...(notIcmp ? { notIcmp } : {}),
    ...Object.fromEntries(given),
  };
  return Object.keys(traffic).length === 0 ? "any" : [traffic];
}

function readProtocol(place: Place): number | undefined {
  if (!place.given) return undefined;
  return (
    protocolNumber(place.value) ??
    place.wrong(`${JSON.stringify(place.value)} is no protocol: TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255`)
  );
}

function readIcmp(place: Place, protocol: number | undefined): IcmpMatch | undefined {
  if (!place.given) return undefined;
  const { type, code } = place.object(["type", "code"]);
  if (type === undefined && code === undefined) return undefined;
  if (protocol !== 1 && protocol !== 58) return place.wrong("it goes with protocol ICMP or ICMPv6 only");
  if (!isByte(type) || type > 254) return place.at("type").wrong(`${JSON.stringify(type)} is no number from 0 to 254`);
  if (code !== undefined && !isByte(code)) return place.at("code").wrong(`${JSON.stringify(code)} is no number from 0 to 255`);
  return { type, ...(code === undefined ? {} : { code }) };
}

function isByte(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255;
}
