// A zone that follows its file: read again when it changed and its serial number too; a bad file leaves the zone as it was.
import { readFileSync, statSync } from "node:fs";
import { messageOf } from "../../../base/index.ts";
import type { Name } from "../../message.ts";
import type { DnsLog } from "../../plugin.ts";
import { parseZone } from "../../text/parse.ts";
import { makeZone, type Zone } from "./zone.ts";

export interface ZoneFile {
  /** Undefined until it could be read. */
  readonly zone: Zone | undefined;
  /** Looks at the file, and reads it where it changed. */
  look(): void;
}

/** @throws ZoneFileError, or Error without an SOA: where the file is there and not right */
export function openZoneFile(path: string, origin: Name, log: DnsLog): ZoneFile {
  let seen = "";
  let zone: Zone | undefined;
  const read = () => {
    const { mtimeMs, size, ino } = statSync(path);
    const mark = `${mtimeMs} ${size} ${ino}`;
    if (mark === seen) return;
    const next = makeZone(origin, parseZone(readFileSync(path, "utf8"), { origin, file: path }));
    seen = mark;
    if (zone && next.serial === zone.serial)
      log("warning", "file", `${path} changed and its serial ${zone.serial} did not: raise it, and the zone is read again`);
    else {
      if (zone) log("info", "file", `${path}: zone ${origin} has serial ${next.serial} now, and had ${zone.serial}`);
      zone = next;
    }
  };
  let complaint = "";
  try {
    read();
  } catch (error) {
    if ((error as { code?: string }).code !== "ENOENT") throw error;
    log("warning", "file", `${path} is not there yet`);
  }
  return {
    get zone() {
      return zone;
    },
    look() {
      try {
        read();
        complaint = "";
      } catch (error) {
        const message = `${path}: ${messageOf(error)}; zone ${origin} stays as it was`;
        if (message !== complaint) log("error", "file", message);
        complaint = message;
      }
    },
  };
}
