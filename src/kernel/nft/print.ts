// Prints tables, chains, rules, sets and elements in nft's own language. Names come from Fairlead, values are checked.
import { FairleadError } from "../../base/index.ts";
import type {
  NftChain,
  NftElement,
  NftField,
  NftMatch,
  NftRule,
  NftSet,
  NftStatement,
  NftTable,
  NftTarget,
  NftType,
  NftVerdict,
} from "../netfilter.ts";
import { formatOwner } from "./owner.ts";

const NAME = /^[A-Za-z_][A-Za-z0-9_./-]{0,127}$/;
const VALUE = /^[A-Za-z0-9.:/_*, -]+$/;

/** How a type that has no name of its own in `type` is described by an expression in `typeof`. */
const TYPEOF: Readonly<Record<NftType, string>> = {
  ipv4_addr: "ip daddr",
  ipv6_addr: "ip6 daddr",
  inet_proto: "meta l4proto",
  inet_service: "tcp dport",
  mark: "meta mark",
  ifname: "meta iifname",
  ether_addr: "ether saddr",
  integer: "numgen random mod 65536",
  verdict: "verdict",
};

/** The whole table, as `nft -f` takes it. */
export function printTable(table: NftTable): string {
  const body = [...table.sets.map(printSet), ...table.chains.map((chain) => printChain(chain))].join("\n");
  return `table ${table.family} ${name(table.name)} {\n${body}\n}\n`;
}

/** A set or map with its elements, to stand within a table. */
function printSet(set: NftSet): string {
  const elements = set.elements.length > 0 ? ` elements = { ${set.elements.map(printElement).join(", ")} };` : "";
  return `${set.value ? "map" : "set"} ${name(set.name)} { ${printSetHead(set)}${elements} }`;
}

/** What a set is, without its elements: "type ipv4_addr : verdict; flags interval;". */
export function printSetHead(set: NftSet): string {
  const types = [set.key, set.value ?? []];
  const byExpression = types.some((list) => list.includes("integer"));
  // Never "th dport": nft 1.0.6 refuses that where it reads the set back before it adds a rule ("conflicting protocols"),
  // and takes any other protocol's port for a match on that protocol.
  const expression = (type: NftType) => (type === "inet_service" ? `${set.transport ?? "tcp"} dport` : TYPEOF[type]);
  const print = (list: readonly NftType[]) => list.map((type) => (byExpression ? expression(type) : type)).join(" . ");
  const parts = [`${byExpression ? "typeof" : "type"} ${print(set.key)}${set.value ? ` : ${print(set.value)}` : ""};`];
  if (set.flags?.length) parts.push(`flags ${[...set.flags].sort().join(",")};`);
  if (set.timeout !== undefined) parts.push(`timeout ${set.timeout}s;`);
  if (set.size !== undefined) parts.push(`size ${set.size};`);
  return parts.join(" ");
}

/** An element: "10.96.0.10 . tcp . 53 comment \"…\" : goto svc". */
export function printElement(element: NftElement): string {
  const key = element.key.map(value).join(" . ");
  const comment = element.owner ? ` comment "${formatOwner(element.owner)}"` : "";
  return `${key}${comment}${element.value === undefined ? "" : ` : ${printValue(element.value)}`}`;
}

/** The data of a map's element. */
function printValue(data: NonNullable<NftElement["value"]>): string {
  return "verdict" in data ? printVerdict(data) : data.map(value).join(" . ");
}

/** A chain with its rules, to stand within a table. */
export function printChain(chain: NftChain, rules = true): string {
  const { hook } = chain;
  const head = hook ? ` type ${hook.type} hook ${hook.hook} priority ${hook.priority}; policy ${hook.policy};` : "";
  const lines = rules ? chain.rules.map((rule) => `  ${printRule(rule)}`).join("\n") : "";
  return `chain ${name(chain.name)} {${head}\n${lines}\n}`;
}

/** One rule. A rule that says nothing at all still counts, so that it is a rule. */
export function printRule(rule: NftRule): string {
  const parts = [...rule.matches.map(printMatch), ...rule.statements.map(printStatement)];
  if (rule.owner) parts.push(`comment "${formatOwner(rule.owner)}"`);
  return parts.join(" ");
}

function printMatch(match: NftMatch): string {
  if ("opaque" in match) return match.opaque;
  const left = Array.isArray(match.left) ? match.left.map(printField).join(" . ") : printField(match.left as NftField);
  const op = match.op === "==" ? "" : `${match.op} `;
  const masked = typeof match.left === "object" && !Array.isArray(match.left) && "mask" in match.left;
  return `${left} ${masked && op === "" ? "== " : op}${printRight(match.right)}`;
}

function printRight(right: Exclude<NftMatch, { opaque: string }>["right"]): string {
  if (typeof right === "string") return value(right);
  if ("set" in right) return `@${name(right.set)}`;
  return right.length === 1 ? value(right[0] ?? "") : `{ ${right.map(value).join(", ")} }`;
}

/** A field as nft spells it. */
function printField(field: NftField): string {
  if (typeof field === "string") return field.startsWith("meta iif") || field.startsWith("meta oif") ? field.slice(5) : field;
  if ("numgen" in field) return `numgen ${field.numgen} mod ${field.mod}${field.offset ? ` offset ${field.offset}` : ""}`;
  if ("jhash" in field) {
    const seed = field.seed === undefined ? "" : ` seed 0x${field.seed.toString(16)}`;
    return `jhash ${field.jhash.map(printField).join(" . ")} mod ${field.mod}${seed}${field.offset ? ` offset ${field.offset}` : ""}`;
  }
  return `${printField(field.field)} & 0x${field.mask.toString(16)}`;
}

function printStatement(statement: NftStatement): string {
  if ("verdict" in statement) return printVerdict(statement);
  if ("reject" in statement)
    return statement.reject === "tcp reset" ? "reject with tcp reset" : `reject with ${statement.reject.replace(" ", " type ")}`;
  if ("counter" in statement) return "counter";
  if ("log" in statement) return printLog(statement.log);
  if ("masquerade" in statement) {
    const { ports, fullyRandom } = statement.masquerade;
    return `masquerade${ports === undefined ? "" : ` to :${ports}`}${fullyRandom ? " fully-random" : ""}`;
  }
  if ("snat" in statement) return `snat ${printTarget(statement.snat)}`;
  if ("dnat" in statement) return `dnat ${printTarget(statement.dnat)}`;
  if ("redirect" in statement) return statement.redirect.port === undefined ? "redirect" : `redirect to :${statement.redirect.port}`;
  if ("vmap" in statement) {
    const map = statement.vmap.map;
    const right = typeof map === "string" ? `@${name(map)}` : `{ ${map.map(printElement).join(", ")} }`;
    return `${statement.vmap.key.map(printField).join(" . ")} vmap ${right}`;
  }
  if ("setMark" in statement) return printMark("meta mark", statement.setMark);
  if ("setCtMark" in statement) return printMark("ct mark", statement.setCtMark);
  if ("setCtMarkFrom" in statement)
    return `ct mark set ${statement.setCtMarkFrom.key.map(printField).join(" . ")} map @${name(statement.setCtMarkFrom.map)}`;
  if ("setDscp" in statement) return `ip${statement.family ?? ""} dscp set ${statement.setDscp}`;
  if ("update" in statement) return printUpdate(statement.update);
  if ("notrack" in statement) return "notrack";
  return statement.opaque;
}

function printLog(log: { readonly prefix?: string; readonly group?: number }): string {
  const prefix = log.prefix === undefined ? "" : ` prefix "${log.prefix.replace(/[^\x20-\x7e]|["\\$]/g, "_").slice(0, 127)}"`;
  return `log${prefix}${log.group === undefined ? "" : ` group ${log.group}`}`;
}

function printMark(what: string, { value: mark, mask }: { readonly value: number; readonly mask?: number }): string {
  return mask === undefined
    ? `${what} set 0x${mark.toString(16)}`
    : `${what} set ${what} & 0x${mask.toString(16)} ^ 0x${mark.toString(16)}`;
}

function printUpdate(update: Extract<NftStatement, { update: object }>["update"]): string {
  const timeout = update.timeout === undefined ? "" : ` timeout ${update.timeout}s`;
  const data = update.value
    ?.map((part) => (typeof part === "object" && "literal" in part ? value(part.literal) : printField(part as NftField)))
    .join(" . ");
  return `${update.mode} @${name(update.set)} { ${update.key.map(printField).join(" . ")}${timeout}${data === undefined ? "" : ` : ${data}`} }`;
}

function printTarget(target: NftTarget): string {
  const family = target.family === 4 ? "ip" : "ip6";
  if ("map" in target) return `${family} to ${target.key.map(printField).join(" . ")} map @${name(target.map)}`;
  const address =
    target.address === undefined
      ? ""
      : target.family === 6 && target.port !== undefined
        ? `[${value(target.address)}]`
        : value(target.address);
  return `${family} to ${address}${target.port === undefined ? "" : `:${target.port}`}`;
}

/** A verdict. */
function printVerdict(verdict: NftVerdict): string {
  return "chain" in verdict ? `${verdict.verdict} ${name(verdict.chain)}` : verdict.verdict;
}

function name(text: string): string {
  if (!NAME.test(text)) throw new FairleadError("nft-name", `"${text}" can't name an nftables object`);
  return text;
}

function value(text: string): string {
  if (!VALUE.test(text)) throw new FairleadError("nft-value", `"${text}" is no value of an nftables rule`);
  return text;
}
