// Reads Calico's HostEndpoint, NetworkSet and GlobalNetworkSet: end points that are no pods.
import { formatAddress, formatPrefix, networkOf, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { blockOf } from "../ends.ts";
import type { LabelledEnd } from "../rules.ts";
import { fieldsOf, labelsOf, listOf, ownerOf, specOf, titleOf } from "./objects.ts";
import { protocolNumber } from "./protocols.ts";

/** A set of blocks with labels. A block that can't be read is left out. */
export function readNetworkSet(object: KubeObject, remarks: string[]): LabelledEnd {
  const owner = ownerOf(object);
  const { name, namespace } = object.metadata;
  const blocks = listOf(specOf(object).nets).flatMap((text, index) => {
    const block = blockIn(text);
    if (block === undefined)
      remarks.push(`${titleOf(owner)}: spec.nets[${index}]: ${JSON.stringify(text)} is neither an address nor a prefix; it is left out`);
    return block ?? [];
  });
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
  const addresses = listOf(spec.expectedIPs).flatMap((text, index) => {
    const address = typeof text === "string" ? tryParseAddress(text) : undefined;
    if (!address) remarks.push(`${titleOf(owner)}: spec.expectedIPs[${index}]: ${JSON.stringify(text)} is no address; it is left out`);
    return address ? [formatAddress(address)] : [];
  });
  const device = typeof spec.interfaceName === "string" && spec.interfaceName !== "" ? spec.interfaceName : undefined;
  if (device === undefined && addresses.length === 0)
    remarks.push(`${titleOf(owner)}: spec: it needs interfaceName or expectedIPs to say which interface is meant; it protects nothing`);
  const ports = listOf(spec.ports).flatMap((item) => {
    const { name: portName, port, protocol } = fieldsOf(item);
    const number = protocolNumber(protocol);
    return typeof portName === "string" && typeof port === "number" && number !== undefined
      ? [{ name: portName, port, protocol: number }]
      : [];
  });
  const profiles = listOf(spec.profiles).filter((each): each is string => typeof each === "string");
  const blocks = addresses.map(blockOf);
  const host = { node: spec.node, ...(device === undefined ? {} : { interface: device }), addresses, profiles, ports };
  const labels = Object.assign({}, ...profiles.toReversed().map((profile) => lent(profile)), labelsOf(object));
  return [{ kind: "host", owner, name, labels, blocks, host }];
}

/** A prefix in canonical text, its host bits cleared; an address has its full length. */
export function blockIn(text: unknown): string | undefined {
  if (typeof text !== "string") return undefined;
  const prefix = tryParsePrefix(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`);
  return prefix && formatPrefix(networkOf(prefix));
}
