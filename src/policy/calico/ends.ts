// Reads Calico's HostEndpoint, NetworkSet and GlobalNetworkSet: end points that are no pods.

import { formatAddress, formatPrefix, networkOf, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { blockOf } from "../ends.ts";
import { networkText } from "../network-text.ts";
import type { LabelledEnd } from "../rules.ts";
import { labelsOf, listOf, ownerOf, specOf, titleOf } from "./objects.ts";
import { Place } from "./place.ts";
import { protocolNumber } from "./protocols.ts";

/** A set of blocks with labels. A block that can't be read is left out. */
export function readNetworkSet(object: KubeObject, remarks: string[]): LabelledEnd {
  const owner = ownerOf(object);
  const { name, namespace } = object.metadata;
  const place = placeOf(object, remarks);
  place.object(["nets"]);
  const blocks = place.at("nets").items().flatMap(readNet);
  return { kind: "set", owner, name, ...(namespace === undefined ? {} : { namespace }), labels: labelsOf(object), blocks };
}

/**
 * One interface of a node, or all of them; none where the object does not say which node. `lent` tells the labels that a
 * profile gives to whoever has it; of two profiles the first wins, and its own labels before both.
 */
export function readHostEndpoint(
  object: KubeObject,
  remarks: string[],
  lent: (profile: string) => Readonly<Record<string, string>> = () => ({}),
): LabelledEnd[] {
  const owner = ownerOf(object);
  const { name } = object.metadata;
  const spec = specOf(object);
  if (typeof spec.node !== "string" || spec.node === "") {
    remarks.push(`${titleOf(owner)}: spec.node: it names no node, so it protects nothing`);
    return [];
  }
  const place = placeOf(object, remarks);
  place.object(["node", "interfaceName", "expectedIPs", "profiles", "ports"]);
  const addresses = place
    .at("expectedIPs")
    .items()
    .flatMap((item) => {
      const address = typeof item.value === "string" ? tryParseAddress(item.value) : undefined;
      if (!address) item.wrong(`${JSON.stringify(item.value)} is no address; it is left out`);
      return address ? [formatAddress(address)] : [];
    });
  const device = typeof spec.interfaceName === "string" && spec.interfaceName !== "" ? spec.interfaceName : undefined;
  if (device === undefined && addresses.length === 0)
    remarks.push(`${titleOf(owner)}: spec: it needs interfaceName or expectedIPs to say which interface is meant; it protects nothing`);
  const ports = place
    .at("ports")
    .items()
    .flatMap((item) => {
      const { name: portName, port, protocol } = item.object(["name", "protocol", "port"]);
      const number = protocolNumber(protocol);
      if (typeof portName === "string" && isPort(port) && number !== undefined) return [{ name: portName, port, protocol: number }];
      item.wrong("it needs a name, a protocol and a port from 1 to 65535; it is left out");
      return [];
    });
  const profiles = listOf(spec.profiles).filter((each): each is string => typeof each === "string");
  const blocks = addresses.map(blockOf);
  const host = { node: spec.node, ...(device === undefined ? {} : { interface: device }), addresses, profiles, ports };
  const labels = Object.assign({}, ...profiles.toReversed().map((profile) => lent(profile)), labelsOf(object));
  return [{ kind: "host", owner, name, labels, blocks, host }];
}

function placeOf(object: KubeObject, remarks: string[]): Place {
  const say = (path: string, says: string) => remarks.push(`${titleOf(ownerOf(object))}: ${path}: ${says}`);
  return new Place((object as { spec?: unknown }).spec, "spec", { wrong: say, note: say });
}

function isPort(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65_535;
}

/** One block of a set: what can't be read is left out, host bits are cleared. */
export function readNet(place: Place): string[] {
  const block = blockIn(place.value);
  if (block === undefined) {
    place.wrong(`${JSON.stringify(place.value)} is neither an address nor a prefix; it is left out`);
    return [];
  }
  noteHostBits(place);
  return [block];
}

/** Notes an address where a network is meant. */
export function noteHostBits(place: Place): void {
  const text = String(place.value);
  const prefix = tryParsePrefix(text);
  if (prefix) networkText(text, prefix, (says) => place.note(says));
}

/** A prefix in canonical text, its host bits cleared; an address has its full length. */
export function blockIn(text: unknown): string | undefined {
  if (typeof text !== "string") return undefined;
  const prefix = tryParsePrefix(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`);
  return prefix && formatPrefix(networkOf(prefix));
}
