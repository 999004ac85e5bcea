// The rules for names, label keys and values, addresses and ports (RFC 1123, RFC 1035, RFC 6335).
import { type IpPrefix, tryParseAddress, tryParsePrefix } from "../../base/index.ts";
import type { Place } from "./place.ts";

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** Why the text is no DNS label (RFC 1123); undefined if it is one. */
export function labelFault(text: string): string | undefined {
  if (text.length > 63) return "must be no more than 63 characters";
  if (LABEL.test(text)) return undefined;
  return "must be a DNS label (RFC 1123): lower case letters, digits and '-', with a letter or digit first and last";
}

/** Why the text is no DNS label of the older kind, which begins with a letter (RFC 1035). */
export function label1035Fault(text: string): string | undefined {
  if (text.length > 63) return "must be no more than 63 characters";
  if (LABEL_1035.test(text)) return undefined;
  return "must be a DNS label (RFC 1035): lower case letters, digits and '-', with a letter first and a letter or digit last";
}

/** Why the text is no DNS name (RFC 1123 subdomain). */
export function subdomainFault(text: string): string | undefined {
  if (text.length > 253) return "must be no more than 253 characters";
  if (SUBDOMAIN.test(text)) return undefined;
  return "must be a DNS name (RFC 1123): lower case letters, digits, '-' and '.', with a letter or digit first and last in each part";
}

/** Why the text is no key of labels or annotations: NAME or PREFIX/NAME. */
export function keyFault(key: string): string | undefined {
  const slash = key.indexOf("/");
  const prefix = key.slice(0, Math.max(0, slash));
  const name = key.slice(slash + 1);
  if (slash >= 0 && (prefix === "" || subdomainFault(prefix) !== undefined)) return "its prefix, before '/', must be a DNS name";
  if (name === "") return "its name must not be empty";
  if (name.length > 63) return "its name must be no more than 63 characters";
  return QUALIFIED.test(name)
    ? undefined
    : "its name must be letters, digits, '-', '_' and '.', with a letter or digit first and last, after an optional prefix and '/'";
}

/** Why the text is no value of a label. */
export function labelValueFault(value: string): string | undefined {
  if (value.length > 63) return "must be no more than 63 characters";
  return value === "" || QUALIFIED.test(value)
    ? undefined
    : "a label's value must be empty, or letters, digits, '-', '_' and '.', with a letter or digit first and last";
}

/** Reads a port's number: 1 to 65535. */
export function checkPort(place: Place): number | undefined {
  return place.between(1, 65_535);
}

/** Why the text is no name of a port of a container (RFC 6335 §5.1). */
export function portNameFault(text: string): string | undefined {
  if (text.length > 15) return "must be no more than 15 characters";
  if (!/^[-a-z0-9]+$/.test(text)) return "must be lower case letters, digits and '-' only";
  if (!/[a-z]/.test(text)) return "must contain at least one letter";
  if (text.includes("--")) return "must not contain consecutive hyphens";
  return text.startsWith("-") || text.endsWith("-") ? "must not begin or end with a hyphen" : undefined;
}

/** A port by number, or by name. */
export function checkPortOrName(place: Place): void {
  if (typeof place.value !== "string") {
    checkPort(place);
    return;
  }
  const fault = portNameFault(place.value);
  if (fault) place.invalid(fault);
}

/** Reads a text and checks it by a rule. */
export function checkText(place: Place, fault: (text: string) => string | undefined): string | undefined {
  const text = place.text();
  if (text === undefined) return undefined;
  const why = fault(text);
  if (why !== undefined) place.invalid(why);
  return why === undefined ? text : undefined;
}

/** Why the text is no IP address. */
export function addressFault(text: string): string | undefined {
  return tryParseAddress(text) ? undefined : "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
}

/** Reads a prefix; host bits may be set. */
export function checkPrefix(place: Place): IpPrefix | undefined {
  const text = place.text();
  if (text === undefined) return undefined;
  const prefix = tryParsePrefix(text);
  if (!prefix) place.invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
  return prefix;
}
