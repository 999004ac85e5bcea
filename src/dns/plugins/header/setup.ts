// The directive header: header { [query|response] set|clear FLAG… }
import { CorefileError, choice, type Directive } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { FLAGS, type FlagRule, flagged } from "./header.ts";

export const header: Plugin = {
  name: "header",
  setup(directives) {
    const rules = directives.flatMap((directive) => {
      if (!directive.body?.length)
        throw new CorefileError(directive.place, "header has no rule", "write one within its braces, such as: response set ra");
      return directive.body.map(ruleOf);
    });
    return { handler: (next) => flagged(next, rules) };
  },
};

function ruleOf(line: Directive): FlagRule {
  const selector = line.name === "query" || line.name === "response" ? line.name : undefined;
  const words = selector ? line.args : [{ text: line.name, place: line.place }, ...line.args];
  const [action, ...flags] = words;
  if (!action || flags.length === 0) throw new CorefileError(line.place, "this rule has no flag", "write it like: response set ra");
  return {
    of: selector ?? "response",
    value: choice(action, ["set", "clear"]) === "set",
    flags: flags.map((flag) => choice({ ...flag, text: flag.text.toLowerCase() }, FLAGS)),
  };
}
