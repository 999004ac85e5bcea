// The directive loadbalance: loadbalance [round_robin | weighted …] { prefer CIDR… }

import { tryParsePrefix } from "../../../base/index.ts";
import { CorefileError, choice, onlyOnce, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { balanced } from "./loadbalance.ts";

export const loadbalance: Plugin = {
  name: "loadbalance",
  setup(directives, { host }) {
    const directive = onlyOnce(directives);
    const [policy] = directive.args;
    if (policy?.text === "weighted") throw new CorefileError(policy.place, "loadbalance weighted is not here", "use round_robin");
    if (policy) choice(policy, ["round_robin"]);
    const preferred = (directive.body ?? []).flatMap((option) => {
      if (option.name !== "prefer") throw unknownOption("loadbalance", option, ["prefer"]);
      return option.args.map(({ text, place }) => {
        const prefix = tryParsePrefix(text);
        if (!prefix) throw new CorefileError(place, `"${text}" is no prefix`, "write it like 10.0.0.0/8");
        return prefix;
      });
    });
    return { handler: (next) => balanced(next, preferred, host.random) };
  },
};
