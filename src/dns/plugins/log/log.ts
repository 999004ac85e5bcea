// Writes a line for each answer that a rule asks for, in the rule's format.
import { familyOf } from "../../../base/index.ts";
import { className, type Name, RCODE, rcodeName, typeName } from "../../message.ts";
import type { Answered, DnsLog } from "../../plugin.ts";
import { DROPPED } from "../../query.ts";
import { inZone } from "../../wire/names.ts";

export const CLASSES = ["success", "denial", "error", "all"] as const;
export const COMMON =
  '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}';
export const COMBINED = `${COMMON} "{>opcode}"`;

export interface LogRule {
  readonly zones: readonly Name[];
  readonly format: string;
  readonly classes: ReadonlySet<(typeof CLASSES)[number]>;
}

type Field = (answered: Answered) => string;

const FIELDS: Readonly<Record<string, Field>> = {
  "{remote}": ({ query }) => bracketed(query.origin.address),
  "{port}": ({ query }) => String(query.origin.port),
  "{local}": ({ query }) => query.origin.server,
  "{>id}": ({ query }) => String(query.id),
  "{type}": ({ query }) => typeName(query.type),
  "{class}": ({ query }) => className(query.class),
  "{name}": ({ query }) => query.spelled,
  "{proto}": ({ query }) => query.origin.transport,
  "{size}": ({ query }) => String(query.size),
  "{>do}": ({ query }) => String(query.edns?.dnssecOk ?? false),
  "{>bufsize}": ({ query }) => String(query.edns?.udpSize ?? 512),
  "{>opcode}": () => "0",
  "{rcode}": ({ reply }) => (reply === DROPPED ? "-" : rcodeName(reply.rcode)),
  "{>rflags}": (answered) => flags(answered),
  "{rsize}": ({ size }) => String(size),
  "{duration}": ({ milliseconds }) => `${(milliseconds / 1000).toFixed(9).replace(/0+$/, "").replace(/\.$/, "")}s`,
  "{common}": () => "",
  "{combined}": () => "",
};

const FIELD = /\{[^{}]*\}/g;

/** The first field of a format that there is not. */
export function unknownField(format: string): string | undefined {
  return format.match(FIELD)?.find((field) => !Object.hasOwn(FIELDS, field));
}

export function createQueryLog(rules: readonly LogRule[], log: DnsLog): (answered: Answered) => void {
  return (answered) => {
    const rule = rules.find(({ zones }) => zones.some((zone) => inZone(answered.query.name, zone)));
    if (!rule || !(rule.classes.has("all") || rule.classes.has(classOf(answered)))) return;
    log(
      "info",
      "log",
      rule.format.replace(FIELD, (field) => FIELDS[field]?.(answered) ?? field),
    );
  };
}

function classOf({ reply }: Answered): "success" | "denial" | "error" {
  if (reply.rcode === RCODE.NXDOMAIN) return "denial";
  if (reply.rcode !== RCODE.NOERROR) return "error";
  return reply.answers.length === 0 && reply.authorities.some(({ data }) => data.type === "SOA") ? "denial" : "success";
}

function flags({ query, reply }: Answered): string {
  const set = [
    "qr",
    reply.authoritative ? "aa" : "",
    reply.truncated ? "tc" : "",
    (reply.recursionDesired ?? query.recursionDesired) ? "rd" : "",
    reply.recursionAvailable ? "ra" : "",
    reply.authenticData ? "ad" : "",
    query.checkingDisabled ? "cd" : "",
  ];
  return set.filter((flag) => flag !== "").join(",");
}

function bracketed(address: string): string {
  return familyOf(address) === 6 ? `[${address}]` : address;
}
