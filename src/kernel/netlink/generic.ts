// Generic netlink: a family's number by its name (linux/genetlink.h).
import { concatBytes, decodeAttributes, encodeAttributes } from "./attribute.ts";

/** Message type of the controller that knows the families. */
export const CONTROLLER = 0x10;

const GET_FAMILY = 3;
const FAMILY = { number: [1, "u16"], name: [2, "string"] } as const;
const HEADER = 4;

/** The body of a message: a command's number and the family's version, then attributes. */
export function encodeGeneric(command: number, attributes: Uint8Array, version = 1): Uint8Array {
  return concatBytes([Uint8Array.of(command, version, 0, 0), attributes]);
}

/** The attributes of a message's body. */
export function genericAttributes(body: Uint8Array): Uint8Array {
  return body.subarray(HEADER);
}

/** Asks the controller for a family; the kernel loads its module, if it has one. */
export function encodeFamilyQuestion(name: string): Uint8Array {
  return encodeGeneric(GET_FAMILY, encodeAttributes(FAMILY, { name }));
}

/** The number in the controller's answer. */
export function decodeFamilyNumber(body: Uint8Array): number | undefined {
  return decodeAttributes(FAMILY, genericAttributes(body)).number;
}
