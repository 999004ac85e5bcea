// The directive template: template CLASS TYPE [ZONE…] { match; answer; additional; authority; rcode; ederror; fallthrough }
import { messageOf } from "../../../base/index.ts";
import {
  type Argument,
  argument,
  CorefileError,
  type Directive,
  expectArgs,
  integer,
  pattern,
  unknownOption,
  zonesOrBlock,
} from "../../corefile/index.ts";
import { CLASS, type Name, RCODE, TYPE, typeCode } from "../../message.ts";
import type { Plugin } from "../../plugin.ts";
import { compileTemplate } from "./go-template.ts";
import { type Section, type Template, templated, templateMetrics } from "./template.ts";

const OPTIONS = ["match", "answer", "additional", "authority", "rcode", "ederror", "fallthrough", "upstream"];

export const template: Plugin = {
  name: "template",
  setup(directives, site) {
    const templates = directives.map((directive) => read(directive, site.zones));
    const metrics = templateMetrics(site.host.metrics, site.server);
    return { handler: (next) => templated(next, templates, { resolve: site.host.resolve, metrics }) };
  },
};

function read(directive: Directive, zones: readonly Name[]): Template {
  const [klass, type, ...scope] = expectArgs(directive, 2, Number.MAX_SAFE_INTEGER);
  const found = {
    class: classOf(klass as Argument),
    type: typeOf(type as Argument),
    zones: zonesOrBlock(scope, zones),
    patterns: [] as RegExp[],
    records: [] as Template["records"][number][],
    rcode: RCODE.NOERROR as number,
    error: undefined as Template["error"],
    fallthrough: [] as readonly Name[],
  };
  for (const option of directive.body ?? []) {
    switch (option.name) {
      case "match":
        expectArgs(option, 1, Number.MAX_SAFE_INTEGER);
        found.patterns.push(...option.args.map((each) => pattern(each)));
        break;
      case "answer":
      case "additional":
      case "authority":
        expectArgs(option, 1, Number.MAX_SAFE_INTEGER);
        for (const text of option.args) found.records.push({ section: option.name as Section, text: text.text, fill: compile(text) });
        break;
      case "rcode":
        found.rcode = rcodeOf(argument(option, 0));
        break;
      case "ederror":
        found.error = { code: integer(argument(option, 0), 0, 65_535), reason: option.args[1]?.text ?? "" };
        break;
      case "fallthrough":
        found.fallthrough = zonesOrBlock(option.args, ["."]);
        break;
      case "upstream":
        // An old spelling; targets of CNAMEs are always resolved.
        break;
      default:
        throw unknownOption("template", option, OPTIONS);
    }
  }
  return found;
}

function compile(text: Argument) {
  try {
    return compileTemplate(text.text);
  } catch (error) {
    throw new CorefileError(text.place, messageOf(error));
  }
}

function classOf({ text, place }: Argument): number | undefined {
  const upper = text.toUpperCase();
  if (upper === "ANY") return undefined;
  if (upper !== "IN" && upper !== "CH" && upper !== "HS")
    throw new CorefileError(place, `"${text}" is no class`, "it is IN, CH, HS or ANY");
  return CLASS[upper];
}

function typeOf({ text, place }: Argument): number | undefined {
  const code = typeCode(text);
  if (code === undefined) throw new CorefileError(place, `"${text}" is no record type`, "write it like A, PTR or ANY");
  return code === TYPE.ANY ? undefined : code;
}

function rcodeOf({ text, place }: Argument): number {
  const code = (RCODE as Readonly<Record<string, number>>)[text.toUpperCase()];
  if (code === undefined) throw new CorefileError(place, `"${text}" is no response code`, `there are ${Object.keys(RCODE).join(", ")}`);
  return code;
}
