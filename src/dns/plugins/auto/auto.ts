// Zones from every file of a directory whose name fits: they come and go with the files.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../../../base/index.ts";
import type { Name } from "../../message.ts";
import type { DnsLog } from "../../plugin.ts";
import { longestZone, toName } from "../../wire/names.ts";
import type { Zone } from "../file/zone.ts";
import { openZoneFile, type ZoneFile } from "../file/zone-file.ts";

export interface DirectoryOptions {
  readonly directory: string;
  /** Of the file's name. */
  readonly match: RegExp;
  /** The zone's name, with {1} for the first group. */
  readonly origin: string;
  /** Zones outside of these are left alone. */
  readonly scope: readonly Name[];
  readonly log: DnsLog;
}

export function watchDirectory(options: DirectoryOptions): { readonly zones: ReadonlyMap<Name, Zone | undefined>; look(): void } {
  const { log } = options;
  const files = new Map<string, { readonly origin: Name; readonly file: ZoneFile }>();
  const refused = new Map<string, string>();
  let zones = new Map<Name, Zone | undefined>();

  function open(path: string, origin: Name): void {
    try {
      files.set(path, { origin, file: openZoneFile(path, origin, log) });
      refused.delete(path);
      log("info", "auto", `zone ${origin} is served from ${path}`);
    } catch (error) {
      if (refused.get(path) !== messageOf(error)) log("error", "auto", `${path}: ${messageOf(error)}`);
      refused.set(path, messageOf(error));
    }
  }

  return {
    get zones() {
      return zones;
    },
    look() {
      const found = listZones(options);
      if (!found) return;
      for (const [path, { origin }] of files) {
        if (found.get(path) === origin) continue;
        files.delete(path);
        log("info", "auto", `zone ${origin} is served no more: ${path} is gone`);
      }
      for (const [path, origin] of found) {
        const known = files.get(path);
        if (known) known.file.look();
        else open(path, origin);
      }
      zones = new Map([...files.values()].map(({ origin, file }) => [origin, file.zone]));
    },
  };
}

/** Path → zone of the files that fit; undefined where the directory can't be read. */
function listZones({ directory, match, origin, scope, log }: DirectoryOptions): Map<string, Name> | undefined {
  let entries: string[];
  try {
    entries = readdirSync(directory, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch (error) {
    log("warning", "auto", `${directory} can't be read: ${messageOf(error)}`);
    return undefined;
  }
  const found = new Map<string, Name>();
  for (const entry of entries) {
    const groups = match.exec(entry);
    const name = groups && toName(origin.replace(/\{(\d+)\}/g, (_whole, number: string) => groups[Number(number)] ?? ""));
    if (name && longestZone(name, scope) !== undefined) found.set(join(directory, entry), name);
  }
  return found;
}
