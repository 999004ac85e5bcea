// The directive log: log [NAMES…] [FORMAT] { class CLASSES… }, as often as wanted
import { CorefileError, choice, type Directive, expectArgs, unknownOption, zonesOf } from "../../corefile/index.ts";
import type { Name } from "../../message.ts";
import type { Plugin } from "../../plugin.ts";
import { CLASSES, COMBINED, COMMON, createQueryLog, type LogRule, unknownField } from "./log.ts";

export const log: Plugin = {
  name: "log",
  setup(directives, { host }) {
    return { observe: createQueryLog(directives.map(readRule), host.log) };
  },
};

function readRule(directive: Directive): LogRule {
  const zones: Name[] = [];
  let format: string | undefined;
  for (const { text, place } of directive.args) {
    if (text.includes("{")) {
      if (format !== undefined) throw new CorefileError(place, "a second format");
      const unknown = unknownField(text);
      if (unknown !== undefined) throw new CorefileError(place, `a log line has no field ${unknown}`, "the plugin's README lists them");
      format = text.replaceAll("{common}", COMMON).replaceAll("{combined}", COMBINED);
    } else zones.push(...namesOf(text, place));
  }
  const classes = new Set<(typeof CLASSES)[number]>();
  for (const option of directive.body ?? []) {
    if (option.name !== "class") throw unknownOption("log", option, ["class"]);
    for (const word of expectArgs(option, 1, CLASSES.length)) classes.add(choice(word, CLASSES));
  }
  return { zones: zones.length > 0 ? zones : ["."], format: format ?? COMMON, classes: classes.size > 0 ? classes : new Set(["all"]) };
}

function namesOf(text: string, place: CorefileError["place"]): Name[] {
  const zones = zonesOf(text);
  if (!zones)
    throw new CorefileError(place, `"${text}" is neither a name nor a format`, 'a format is quoted and has fields: "{remote} {name}"');
  return zones;
}
