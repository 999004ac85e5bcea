// Brings an nft table to its desired contents in one transaction: for now the whole table anew.
import { isDeepStrictEqual } from "node:util";
import { KernelError } from "../errors.ts";
import type { NftElement, NftRule, NftStatement, NftTable, NftVerdict } from "../netfilter.ts";

export function diffTable(observed: NftTable | undefined, desired: NftTable): string {
  if (observed && isDeepStrictEqual(observed, desired)) return "";
  const head = `table ${desired.family} ${desired.name}`;
  const sets = desired.sets.map((set) => {
    const flags = set.flags?.length ? `flags ${set.flags.join(",")}; ` : "";
    const elements = set.elements.length > 0 ? `elements = { ${set.elements.map(element).join(", ")} }; ` : "";
    const type = set.value ? `${set.key.join(" . ")} : ${set.value.join(" . ")}` : set.key.join(" . ");
    return `${set.value ? "map" : "set"} ${set.name} { type ${type}; ${flags}${elements}}\n`;
  });
  const chains = desired.chains.map(({ name, hook, rules }) => {
    const base = hook ? `type ${hook.type} hook ${hook.hook} priority ${hook.priority}; policy ${hook.policy};\n` : "";
    return `chain ${name} {\n${base}${rules.map((rule) => `${ruleText(rule)}\n`).join("")}}\n`;
  });
  return `add ${head}\ndelete ${head}\n${head} {\n${sets.join("")}${chains.join("")}}\n`;
}

const verdict = (value: NftVerdict) => ("chain" in value ? `${value.verdict} ${value.chain}` : value.verdict);
const element = ({ key, value }: NftElement) =>
  value === undefined ? key.join(" . ") : `${key.join(" . ")} : ${"verdict" in value ? verdict(value) : value.join(" . ")}`;

function ruleText(rule: NftRule): string {
  const matches = rule.matches.map((match) => {
    if ("opaque" in match) return match.opaque;
    const right =
      typeof match.right === "string" ? match.right : "set" in match.right ? `@${match.right.set}` : `{ ${match.right.join(", ")} }`;
    return `${[match.left].flat().map(String).join(" . ")} ${match.op === "==" ? "" : `${match.op} `}${right}`;
  });
  return [...matches, ...rule.statements.map(statement)].join(" ");
}

function statement(value: NftStatement): string {
  if ("verdict" in value) return verdict(value);
  if ("counter" in value) return "counter";
  throw new KernelError({ errno: "EOPNOTSUPP", operation: "print a rule", subject: JSON.stringify(value) });
}
