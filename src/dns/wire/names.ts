// Names in text: splitting at dots that are not escaped, escaping bytes, comparing by zone.
import type { Name } from "../message.ts";

/** Longest label, in bytes (RFC 1035 §2.3.4). */
export const MAX_LABEL = 63;
/** Longest name on the wire, in bytes, with its final zero. */
export const MAX_NAME = 255;

/** The labels of a name, unescaped, as latin1 text. */
export function labelsOf(name: Name): string[] {
  if (name === "." || name === "") return [];
  if (!name.includes("\\")) return (name.endsWith(".") ? name.slice(0, -1) : name).split(".");
  const labels: string[] = [];
  let label = "";
  for (let i = 0; i < name.length; i++) {
    const character = name[i];
    if (character === "\\") {
      const digits = /^\d{3}/.exec(name.slice(i + 1, i + 4))?.[0];
      label += digits === undefined ? (name[i + 1] ?? "") : String.fromCharCode(Number(digits) & 255);
      i += digits === undefined ? 1 : 3;
    } else if (character === ".") {
      labels.push(label);
      label = "";
    } else label += character;
  }
  if (label !== "") labels.push(label);
  return labels;
}

/** The name of these labels (latin1 text, not escaped). */
export function nameOf(labels: readonly string[]): Name {
  if (labels.length === 0) return ".";
  let name = "";
  for (const label of labels) {
    for (let i = 0; i < label.length; i++) name += escapeByte(label.charCodeAt(i) & 255);
    name += ".";
  }
  return name;
}

/** How a byte stands within a label of a name in text. */
export function escapeByte(byte: number): string {
  if (byte === 0x2e || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
  return byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${byte.toString().padStart(3, "0")}`;
}

/** A name as a person or a file writes it, in lower case with its final dot; undefined if it is none (an empty or long label, too long). */
export function toName(text: string): Name | undefined {
  if (text === ".") return ".";
  const labels = labelsOf(text.toLowerCase());
  if (text === "" || labels.length === 0) return undefined;
  let length = 1;
  for (const label of labels) {
    if (label.length === 0 || label.length > MAX_LABEL || /[\u0100-\uffff]/.test(label)) return undefined;
    length += label.length + 1;
  }
  return length > MAX_NAME ? undefined : nameOf(labels);
}

/** Whether the name is the zone's apex or below it. Both in lower case. */
export function inZone(name: Name, zone: Name): boolean {
  if (zone === "." || name === zone) return true;
  if (!name.endsWith(zone)) return false;
  const before = name.length - zone.length - 1;
  // The dot in front of the zone must not be an escaped one.
  return name[before] === "." && (name[before - 1] !== "\\" || !escapedAt(name, before));
}

/** The longest of the zones that the name lies in; undefined if none. */
export function longestZone(name: Name, zones: readonly Name[]): Name | undefined {
  let longest: Name | undefined;
  for (const zone of zones) if ((longest === undefined || zone.length > longest.length) && inZone(name, zone)) longest = zone;
  return longest;
}

function escapedAt(name: Name, dot: number): boolean {
  let slashes = 0;
  while (name[dot - 1 - slashes] === "\\") slashes++;
  return slashes % 2 === 1;
}
