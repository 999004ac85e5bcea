// The directive view: view NAME { expr EXPRESSION… }
import { CorefileError, expectArgs, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { compileExpression, ExpressionError, type Value } from "./expression.ts";
import { queryFunctions } from "./view.ts";

export const view: Plugin = {
  name: "view",
  setup(directives) {
    const conditions: ((query: Parameters<typeof queryFunctions>[0]) => Value)[] = [];
    for (const directive of directives) {
      expectArgs(directive, 1);
      if (!directive.body?.length)
        throw new CorefileError(directive.place, "view has no condition", "write one within its braces, such as: expr type() == 'A'");
      for (const line of directive.body) {
        if (line.name !== "expr") throw unknownOption("view", line, ["expr"]);
        const text = line.args.map((word) => word.text).join(" ");
        try {
          const evaluate = compileExpression(text, Object.keys(queryFunctions()));
          conditions.push((query) => evaluate(queryFunctions(query)));
        } catch (error) {
          if (!(error instanceof ExpressionError)) throw error;
          throw new CorefileError(line.args[0]?.place ?? line.place, error.message);
        }
      }
    }
    return { filter: (query) => conditions.every((holds) => isTrue(holds, query)) };
  },
};

/** A condition that can't be decided (an address that is none) takes no query. */
function isTrue(holds: (query: Parameters<typeof queryFunctions>[0]) => Value, query: Parameters<typeof queryFunctions>[0]): boolean {
  try {
    return holds(query) === true;
  } catch (error) {
    if (error instanceof ExpressionError) return false;
    throw error;
  }
}
