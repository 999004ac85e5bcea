// The directive acl: acl [ZONE…] { allow|block|filter|drop [type TYPE…] [net CIDR…] }
import { type IpPrefix, parsePrefix, tryParseAddress, tryParsePrefix } from "../../../base/index.ts";
import { type Argument, CorefileError, choice, type Directive, zonesOrBlock } from "../../corefile/index.ts";
import { typeCode } from "../../message.ts";
import type { Plugin } from "../../plugin.ts";
import { ACTIONS, type AclRule, type AclRules, aclMetrics, guarded } from "./acl.ts";

export const acl: Plugin = {
  name: "acl",
  setup(directives, { zones, server, host }) {
    const lists: AclRules[] = directives.map((directive) => ({
      zones: zonesOrBlock(directive.args, zones),
      rules: (directive.body ?? []).map(ruleOf),
    }));
    for (const [index, { rules }] of lists.entries()) {
      const place = directives[index]?.place;
      if (rules.length === 0 && place)
        throw new CorefileError(place, "acl has no rule", "write allow, block, filter or drop within its braces");
    }
    return { handler: (next) => guarded(next, lists, aclMetrics(host.metrics, server)) };
  },
};

function ruleOf(line: Directive): AclRule {
  const action = choice({ text: line.name, place: line.place }, ACTIONS);
  const types: Argument[] = [];
  const nets: Argument[] = [];
  let into: Argument[] | undefined;
  for (const word of line.args) {
    if (word.text === "type" || word.text === "net") into = word.text === "type" ? types : nets;
    else if (into) into.push(word);
    else throw new CorefileError(word.place, `"${word.text}" is neither type nor net`, `write it like: ${action} type A net 10.0.0.0/8`);
  }
  return { action, types: types.some(isAll) ? undefined : typesOf(types), nets: nets.some(isAll) ? undefined : netsOf(nets) };
}

function isAll({ text }: Argument): boolean {
  return text === "*" || text.toUpperCase() === "ANY";
}

function typesOf(words: readonly Argument[]): ReadonlySet<number> | undefined {
  if (words.length === 0) return undefined;
  return new Set(
    words.map(({ text, place }) => {
      const code = typeCode(text);
      if (code === undefined) throw new CorefileError(place, `"${text}" is no record type`, "write it like A, AAAA or TYPE65");
      return code;
    }),
  );
}

function netsOf(words: readonly Argument[]): readonly IpPrefix[] | undefined {
  if (words.length === 0) return undefined;
  return words.map(({ text, place }) => {
    const address = tryParseAddress(text);
    const prefix = address ? parsePrefix(`${text}/${address.family === 4 ? 32 : 128}`) : tryParsePrefix(text);
    if (!prefix) throw new CorefileError(place, `"${text}" is neither a prefix nor an address`, "write it like 10.0.0.0/8");
    return prefix;
  });
}
