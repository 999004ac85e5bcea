// The directive hosts: hosts [FILE [ZONE…]] { ADDRESS NAME…; ttl N; no_reverse; reload DURATION; fallthrough [ZONE…] }
import { dirname, resolve } from "node:path";
import { tryParseAddress } from "../../../base/index.ts";
import { argument, CorefileError, duration, expectArgs, integer, onlyOnce, unknownOption, zonesOrBlock } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { answered, type HostsOptions } from "./hosts.ts";
import { createHostsFile } from "./hosts-file.ts";

const OPTIONS = ["ttl", "no_reverse", "reload", "fallthrough"];
const RELOAD_MS = 5000;

export const hosts: Plugin = {
  name: "hosts",
  setup(directives, { zones, host }) {
    const directive = onlyOnce(directives);
    const [file, ...scope] = directive.args;
    const inline: string[] = [];
    let reloadMs = RELOAD_MS;
    const options: HostsOptions = {
      zones: zonesOrBlock(scope, zones),
      ttl: 3600,
      reverse: true,
      fallthrough: [],
    };
    for (const option of directive.body ?? []) {
      if (option.name === "ttl") options.ttl = integer(argument(option, 0), 1, 65_535);
      else if (option.name === "no_reverse") options.reverse = false;
      else if (option.name === "reload") reloadMs = duration(argument(option, 0));
      else if (option.name === "fallthrough") options.fallthrough = zonesOrBlock(option.args, ["."]);
      else if (tryParseAddress(option.name)) {
        if (option.args.length === 0)
          throw new CorefileError(option.place, `${option.name} has no name`, "write it like: 10.0.0.1 db.example.org");
        expectArgs(option, 1, Number.MAX_SAFE_INTEGER);
        inline.push([option.name, ...option.args.map(({ text }) => text)].join(" "));
      } else throw unknownOption("hosts", option, OPTIONS);
    }
    const base = host.path === undefined ? process.cwd() : dirname(host.path);
    const table = createHostsFile({
      path: resolve(base, file?.text ?? "/etc/hosts"),
      inline: inline.join("\n"),
      zones: options.zones,
      reloadMs,
      metrics: host.metrics,
      log: host.log,
    });
    return {
      handler: (next) => answered(next, table, options),
      start: () => table.start(),
      stop: () => table.stop(),
    };
  },
};
