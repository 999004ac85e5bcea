// The directive errors: errors { stacktrace; consolidate DURATION REGEX [LEVEL] [show_first] }
import { argument, choice, type Directive, duration, expectArgs, onlyOnce, pattern, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { type Consolidation, createErrorLog } from "./errors.ts";

export const errors: Plugin = {
  name: "errors",
  setup(directives, { host }) {
    const directive = onlyOnce(directives);
    // CoreDNS takes "stdout" here, its only choice.
    for (const target of expectArgs(directive, 0, 1)) choice(target, ["stdout"]);
    const consolidations: Consolidation[] = [];
    for (const option of directive.body ?? []) {
      if (option.name === "stacktrace") expectArgs(option, 0);
      else if (option.name === "consolidate") consolidations.push(readConsolidation(option));
      else throw unknownOption("errors", option, ["consolidate", "stacktrace"]);
    }
    const log = createErrorLog(consolidations, host.log);
    return { observe: log.observe, start: log.start, stop: log.stop };
  },
};

function readConsolidation(option: Directive): Consolidation {
  expectArgs(option, 2, 4);
  const level = option.args[2];
  const first = option.args[3] ?? (level?.text === "show_first" ? level : undefined);
  if (first) choice(first, ["show_first"]);
  const named = level && level !== first ? choice(level, ["warning", "error", "info", "debug"]) : "error";
  return {
    milliseconds: duration(argument(option, 0), 1),
    pattern: pattern(argument(option, 1)),
    level: named === "debug" ? "info" : named,
    showFirst: first !== undefined,
  };
}
