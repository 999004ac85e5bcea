// The directive auto: auto [ZONE…] { directory DIR [REGEX ORIGIN]; reload DURATION }
import { dirname, resolve } from "node:path";
import { argument, CorefileError, duration, expectArgs, onlyOnce, pattern, unknownOption, zonesOrBlock } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { authoritative } from "../file/file.ts";
import { watchDirectory } from "./auto.ts";

const RELOAD_MS = 60_000;

export const auto: Plugin = {
  name: "auto",
  setup(directives, { zones, host }) {
    const directive = onlyOnce(directives);
    const scope = zonesOrBlock(directive.args, zones);
    let directory: string | undefined;
    let match = /db\.(.*)/;
    let origin = "{1}";
    let reloadMs = RELOAD_MS;
    for (const option of directive.body ?? []) {
      if (option.name === "directory") {
        const [path, expression, template] = expectArgs(option, 1, 3);
        directory = resolve(host.path === undefined ? process.cwd() : dirname(host.path), path?.text ?? "");
        if (expression && !template)
          throw new CorefileError(
            expression.place,
            "the origin is missing after the pattern",
            "write it like: directory zones (.*)\\.zone {1}",
          );
        if (expression) match = pattern(expression);
        if (template) origin = template.text;
      } else if (option.name === "reload") reloadMs = duration(argument(option, 0));
      // An old spelling; targets of CNAMEs are always resolved.
      else if (option.name !== "upstream") throw unknownOption("auto", option, ["directory", "reload"]);
    }
    if (directory === undefined) throw new CorefileError(directive.place, "auto has no directory", "write one within its braces");
    const watched = watchDirectory({ directory, match, origin, scope, log: host.log });
    let timer: NodeJS.Timeout | undefined;
    return {
      handler: (next) => authoritative(next, { plugin: "auto", zones: () => watched.zones, fallthrough: [], resolve: host.resolve }),
      start() {
        watched.look();
        if (reloadMs > 0) timer = setInterval(() => watched.look(), reloadMs).unref();
      },
      stop: () => clearInterval(timer),
    };
  },
};
