// What a Cilium rule says of ports, protocols and ICMP types, and what it asks of the application's protocol.
import { PORT_PROTOCOLS } from "../../base/index.ts";
import type { Place } from "../calico/place.ts";
import type { PortMatch, Traffic } from "../rules.ts";
import { icmpType } from "./icmp.ts";

/** As Cilium's API has it. */
const MOST = 40;
/** Without ports; Cilium knows them behind a flag. */
const PORTLESS: Readonly<Record<string, number>> = { IGMP: 2, VRRP: 112 };
const PORT_RULE_FIELDS = ["ports", "rules", "terminatingTLS", "originatingTLS", "serverNames", "listener"];
const L7 = ["http", "kafka", "dns", "l7proto", "l7"];

export interface PortRule {
  readonly traffic: readonly Traffic[] | "any";
  /** What an allowed connection is asked for besides, as it is written. */
  readonly application?: object;
}

/**
 * One entry for each port rule, as each has an application's rules of its own. Neither toPorts nor icmps: undefined, which
 * is all traffic for whoever is named, and nothing where nobody is.
 */
export function readPorts(rule: Place): readonly PortRule[] | undefined {
  const [toPorts, icmps] = [rule.at("toPorts"), rule.at("icmps")];
  const [portRules, icmpRules] = [toPorts.items(), icmps.items()];
  if (portRules.length > 0 && icmpRules.length > 0) icmps.wrong("icmps and toPorts do not go together: write two rules");
  if (icmpRules.length > 0) return [{ traffic: icmpRules.flatMap(readIcmp) }];
  return portRules.length > 0 ? portRules.map(readPortRule) : undefined;
}

function readPortRule(place: Place): PortRule {
  const { serverNames } = place.object(PORT_RULE_FIELDS);
  for (const field of ["terminatingTLS", "originatingTLS", "listener"])
    if (place.at(field).given) place.at(field).wrong("this needs a proxy, which is not there: the rule is not in force");
  const ports = place.at("ports").items();
  if (ports.length > MOST) place.at("ports").wrong(`${ports.length} ports are more than ${MOST}`);
  const application = readApplication(place, serverNames);
  return { traffic: ports.flatMap(readPort), ...(application ? { application } : {}) };
}

function readPort(place: Place): Traffic[] {
  const { port, protocol = "ANY", endPort } = place.object(["port", "endPort", "protocol"]);
  const word = typeof protocol === "string" ? protocol.toUpperCase() || "ANY" : "";
  const portless = PORTLESS[word];
  const numbers = word === "ANY" ? [...PORT_PROTOCOLS.values()] : [PORT_PROTOCOLS.get(word) ?? portless ?? []].flat();
  if (numbers.length === 0) {
    place
      .at("protocol")
      .wrong(`${JSON.stringify(protocol)} is no protocol: ${[...PORT_PROTOCOLS.keys(), "ANY", ...Object.keys(PORTLESS)].join(", ")}`);
    return [];
  }
  const match = readPortMatch(place, port, endPort);
  if (match === undefined) return [];
  if (match === "every") return word === "ANY" ? [{}] : numbers.map((each) => ({ protocol: each }));
  if (portless === undefined) return numbers.map((each) => ({ protocol: each, ports: [match] }));
  place.at("port").wrong(`${word} has no ports: write "0"`);
  return [];
}

/** "every": port 0 stands for all. */
function readPortMatch(place: Place, port: unknown, endPort: unknown): PortMatch | "every" | undefined {
  const text = typeof port === "number" ? String(port) : port;
  if (typeof text !== "string" || text === "") return place.at("port").wrong("a port is a number or a name, written as text");
  const end = endPort === undefined || endPort === null || endPort === 0 ? undefined : endPort;
  if (/^\d+$/.test(text)) {
    const from = Number(text);
    const to = end === undefined ? from : end;
    if (from > 65_535) return place.at("port").wrong(`${text} is no port: they go up to 65535`);
    if (from === 0 && end === undefined) return "every";
    if (typeof to !== "number" || !Number.isInteger(to) || to < from || to > 65_535)
      return place.at("endPort").wrong(`${JSON.stringify(endPort)} is no port from ${text} to 65535`);
    return { from, to };
  }
  if (end !== undefined) return place.at("endPort").wrong("endPort does not go with a port's name");
  if (!/^(?=.*[a-z])(?!.*--)[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$/i.test(text))
    return place.at("port").wrong(`${JSON.stringify(text)} is no name of a port: at most 15 letters, digits and dashes`);
  return { name: text.toLowerCase() };
}

function readIcmp(place: Place): Traffic[] {
  place.object(["fields"]);
  const fields = place.at("fields").items();
  if (fields.length > MOST) place.at("fields").wrong(`${fields.length} fields are more than ${MOST}`);
  return fields.flatMap((field): Traffic[] => {
    const { family = "IPv4", type } = field.object(["family", "type"]);
    if (family !== "IPv4" && family !== "IPv6") {
      field.at("family").wrong(`${JSON.stringify(family)} is neither IPv4 nor IPv6`);
      return [];
    }
    const number = icmpType(family, type);
    if (number !== undefined) return [{ protocol: family === "IPv4" ? 1 : 58, icmp: { type: number } }];
    field
      .at("type")
      .wrong(`${JSON.stringify(type)} is no type of ICMP for ${family}: a number from 0 to 255, or a name such as EchoRequest`);
    return [];
  });
}

/** Held, not enforced: whoever asks for more than ports is let through by a data path that can see more. */
function readApplication(place: Place, serverNames: unknown): object | undefined {
  const rules = place.at("rules");
  const fields = rules.object(L7);
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => (Array.isArray(value) ? value.length > 0 : value)));
  const names = Array.isArray(serverNames) && serverNames.length > 0 ? { serverNames } : {};
  const application = { ...given, ...names };
  const words = Object.keys(application);
  if (words.length === 0) return undefined;
  // Every name may be asked for: that is what the port alone says.
  if (words.length === 1 && Array.isArray(fields.dns) && fields.dns.every(asksForAnyName)) return undefined;
  rules.note(`what is asked of ${words.join(", ")} is not enforced by this data path: until it is, the rule allows nothing`);
  return application;
}

function asksForAnyName(rule: unknown): boolean {
  const pattern: unknown = (rule as { matchPattern?: unknown } | null)?.matchPattern;
  return pattern === "*" && Object.keys(rule as object).length === 1;
}
