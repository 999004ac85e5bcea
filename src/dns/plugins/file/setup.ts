// The directive file: file DBFILE [ZONE…] { reload DURATION; fallthrough [ZONE…] }
import { dirname, resolve } from "node:path";
import { messageOf } from "../../../base/index.ts";
import { type Argument, argument, CorefileError, duration, expectArgs, unknownOption, zonesOrBlock } from "../../corefile/index.ts";
import type { Name } from "../../message.ts";
import type { Plugin } from "../../plugin.ts";
import { authoritative } from "./file.ts";
import { openZoneFile, type ZoneFile } from "./zone-file.ts";

const RELOAD_MS = 60_000;

export const file: Plugin = {
  name: "file",
  setup(directives, { zones, host }) {
    const files = new Map<Name, ZoneFile>();
    let reloadMs = RELOAD_MS;
    let fallthrough: readonly Name[] = [];
    for (const directive of directives) {
      const [path, ...scope] = expectArgs(directive, 1, Number.MAX_SAFE_INTEGER) as [Argument, ...Argument[]];
      const base = host.path === undefined ? process.cwd() : dirname(host.path);
      for (const origin of zonesOrBlock(scope, zones)) {
        try {
          files.set(origin, openZoneFile(resolve(base, path.text), origin, host.log));
        } catch (error) {
          throw new CorefileError(path.place, messageOf(error));
        }
      }
      for (const option of directive.body ?? []) {
        if (option.name === "reload") reloadMs = duration(argument(option, 0));
        else if (option.name === "fallthrough") fallthrough = zonesOrBlock(option.args, ["."]);
        // An old spelling; targets of CNAMEs are always resolved.
        else if (option.name !== "upstream") throw unknownOption("file", option, ["reload", "fallthrough"]);
      }
    }
    let timer: NodeJS.Timeout | undefined;
    const current = () => new Map([...files].map(([origin, { zone }]) => [origin, zone]));
    return {
      handler: (next) => authoritative(next, { plugin: "file", zones: current, fallthrough, resolve: host.resolve }),
      start() {
        const look = () => {
          for (const each of files.values()) each.look();
        };
        if (reloadMs > 0) timer = setInterval(look, reloadMs).unref();
      },
      stop: () => clearInterval(timer),
    };
  },
};
