// A table of names and addresses from lines like those of /etc/hosts, read again when its file changes.
import { readFileSync, statSync } from "node:fs";
import { formatAddress, messageOf, tryParseAddress } from "../../../base/index.ts";
import type { Name } from "../../message.ts";
import type { MetricRegistry } from "../../metrics.ts";
import type { DnsLog } from "../../plugin.ts";
import { longestZone, toName } from "../../wire/names.ts";

export interface HostsTable {
  /** Addresses of both families, in the order of the lines. */
  addresses(name: Name): readonly string[];
  names(address: string): readonly Name[];
}

export interface HostsFileOptions {
  readonly path: string;
  /** Lines of the Corefile itself; they come first. */
  readonly inline: string;
  /** Names outside of them are not taken. */
  readonly zones: readonly Name[];
  /** How often the file is looked at; 0 for never again. */
  readonly reloadMs: number;
  readonly metrics: MetricRegistry;
  readonly log: DnsLog;
}

interface Entries {
  readonly byName: Map<Name, string[]>;
  readonly byAddress: Map<string, Name[]>;
  count: number;
}

/** Starts empty but for the inline lines; `start` reads the file. */
export function createHostsFile(options: HostsFileOptions): HostsTable & { start(): void; stop(): void } {
  const entries = options.metrics.gauge("coredns_hosts_entries", "The combined number of entries in hosts and Corefile.", []).with();
  const timestamp = options.metrics
    .gauge("coredns_hosts_reload_timestamp_seconds", "The timestamp of the last reload of hosts file.", [])
    .with();
  let table = readLines(options.inline, options.zones);
  let seen = "";
  let timer: NodeJS.Timeout | undefined;

  function read(): void {
    try {
      const { mtimeMs, size } = statSync(options.path);
      if (seen === `${mtimeMs} ${size}`) return;
      table = readLines(`${options.inline}\n${readFileSync(options.path, "utf8")}`, options.zones);
      seen = `${mtimeMs} ${size}`;
      timestamp.set(mtimeMs / 1000);
    } catch (error) {
      // The table stays as it was: a file may be away for a moment while it is replaced.
      if (seen !== "missing") options.log("warning", "hosts", `${options.path} can't be read: ${messageOf(error)}`);
      seen = "missing";
    }
    entries.set(table.count);
  }

  return {
    addresses: (name) => table.byName.get(name) ?? [],
    names: (address) => table.byAddress.get(address) ?? [],
    start() {
      read();
      if (options.reloadMs > 0) timer = setInterval(read, options.reloadMs).unref();
    },
    stop: () => clearInterval(timer),
  };
}

function readLines(text: string, zones: readonly Name[]): Entries {
  const entries: Entries = { byName: new Map(), byAddress: new Map(), count: 0 };
  for (const line of text.split("\n")) {
    const [first = "", ...names] = line
      .replace(/#.*/, "")
      .split(/\s+/)
      .filter((word) => word !== "");
    const address = tryParseAddress(first.replace(/%.*/, ""));
    if (!address) continue;
    for (const written of names) {
      const name = toName(written);
      if (name === undefined || longestZone(name, zones) === undefined) continue;
      add(entries.byName, name, formatAddress(address));
      add(entries.byAddress, formatAddress(address), name);
      entries.count++;
    }
  }
  return entries;
}

function add<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (!list) map.set(key, [value]);
  else if (!list.includes(value)) list.push(value);
}
