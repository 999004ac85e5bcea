// A Corefile in force: its blocks with their chains, and what they need from the server around them.

import { createHash } from "node:crypto";
import { CorefileError, closest, type Directive, type ParseOptions, parseCorefile, parseKey, type ServerBlock } from "../corefile/index.ts";
import type { Name } from "../message.ts";
import { RCODE } from "../message.ts";
import type { Answered, Host, HttpRoute, Installed, Site } from "../plugin.ts";
import { ABSENT, PLUGINS } from "../plugins/order.ts";
import { type Handler, reply } from "../query.ts";

/** One server block on one port. */
export interface Block {
  readonly site: Site;
  readonly chain: Handler;
  readonly installed: readonly InstalledPlugin[];
  readonly filters: readonly NonNullable<Installed["filter"]>[];
  readonly observers: readonly ((answered: Answered) => void)[];
}

export interface InstalledPlugin {
  readonly plugin: string;
  readonly installed: Installed;
}

/** What is served at one address ("" for every) and port: zone → its blocks, in the file's order (several where they filter). */
export interface Listening {
  readonly address: string;
  readonly port: number;
  readonly zones: ReadonlyMap<Name, readonly Block[]>;
}

export interface Configuration {
  readonly blocks: readonly Block[];
  readonly listening: readonly Listening[];
  readonly http: readonly HttpRoute[];
  /** SHA-512 of its words, with what it imports: to see whether another is different. */
  readonly digest: string;
}

/** The digest of a Corefile's words: neither comments nor white space count, imported files do. @throws CorefileError */
export function corefileDigest(text: string, options: ParseOptions): string {
  return digestOf(parseCorefile(text, options));
}

function digestOf(blocks: readonly ServerBlock[]): string {
  const words = JSON.stringify(blocks, (key, value) => (key === "place" ? undefined : value));
  return createHash("sha512").update(words).digest("hex");
}

/** Reads a Corefile and sets every block's plugins up; starts nothing. @throws CorefileError */
export function readConfiguration(text: string, options: ParseOptions, host: Host): Configuration {
  const parsed = parseCorefile(text, options);
  if (parsed.length === 0)
    throw new CorefileError(
      { file: options.file, line: 1, column: 1 },
      "no server block",
      "write one, such as .:53 { forward . /etc/resolv.conf }",
    );
  const blocks = parsed.flatMap((block) => setUpBlock(block, host));
  return { blocks, listening: listeningOf(blocks, parsed), http: httpOf(blocks), digest: digestOf(parsed) };
}

/** A block for each port of its keys; blocks of one text share their plugins' names, not their state. */
function setUpBlock(parsed: ServerBlock, host: Host): Block[] {
  const zonesByPort = new Map<number, Name[]>();
  for (const key of parsed.keys) {
    const { zones, port } = parseKey(key);
    zonesByPort.set(port, [...(zonesByPort.get(port) ?? []), ...zones]);
  }
  const directives = groupDirectives(parsed.directives);
  return [...zonesByPort].map(([port, zones]) => blockOf({ zones, port, directives, host }));
}

function groupDirectives(directives: readonly Directive[]): Map<string, Directive[]> {
  const known = PLUGINS.map((plugin) => plugin.name);
  const groups = new Map<string, Directive[]>();
  for (const directive of directives) {
    if (!known.includes(directive.name)) throw unknownPlugin(directive, known);
    groups.set(directive.name, [...(groups.get(directive.name) ?? []), directive]);
  }
  return groups;
}

function unknownPlugin({ name, place }: Directive, known: readonly string[]): CorefileError {
  const absent = Object.hasOwn(ABSENT, name) ? ABSENT[name] : undefined;
  if (absent !== undefined) return new CorefileError(place, `plugin ${name} is one of CoreDNS's that Fairlead does not have`, absent);
  const near = closest(name, known);
  return new CorefileError(
    place,
    `there is no plugin "${name}"`,
    `${near === undefined ? "" : `did you mean ${near}? `}the plugins are ${[...known].sort().join(", ")}`,
  );
}

function blockOf(options: {
  readonly zones: readonly Name[];
  readonly port: number;
  readonly directives: ReadonlyMap<string, readonly Directive[]>;
  readonly host: Host;
}): Block {
  const { zones, port, directives, host } = options;
  const installed: InstalledPlugin[] = [];
  const present = PLUGINS.filter((plugin) => directives.has(plugin.name));
  const site: Site = {
    zones,
    port,
    server: `dns://:${port}`,
    plugins: present.map((plugin) => plugin.name),
    installed: (name) => installed.find(({ plugin }) => plugin === name)?.installed,
    host,
  };
  for (const plugin of present) installed.push({ plugin: plugin.name, installed: plugin.setup(directives.get(plugin.name) ?? [], site) });
  return {
    site,
    chain: chainOf(installed),
    installed,
    filters: installed.flatMap(({ installed: each }) => (each.filter ? [each.filter.bind(each)] : [])),
    observers: installed.flatMap(({ installed: each }) => (each.observe ? [each.observe.bind(each)] : [])),
  };
}

/** The handlers from the last to the first; beyond the last nobody answers. */
export function chainOf(installed: readonly InstalledPlugin[]): Handler {
  return installed.reduceRight<Handler>((next, { installed: each }) => each.handler?.(next) ?? next, LAST);
}

const refused = reply("", { rcode: RCODE.REFUSED });
const LAST: Handler = { name: "", serve: () => refused };

function listeningOf(blocks: readonly Block[], parsed: readonly ServerBlock[]): Listening[] {
  const listening = new Map<string, { address: string; port: number; zones: Map<Name, Block[]> }>();
  for (const block of blocks) {
    const bound = block.installed.flatMap(({ installed }) => installed.addresses ?? []);
    for (const address of bound.length > 0 ? bound : [""]) {
      const key = `${address} ${block.site.port}`;
      const entry = listening.get(key) ?? { address, port: block.site.port, zones: new Map<Name, Block[]>() };
      listening.set(key, entry);
      for (const zone of block.site.zones) {
        const there = entry.zones.get(zone) ?? [];
        const shadowed = there.find((each: Block) => each.filters.length === 0);
        if (shadowed) {
          const place = parsed[0]?.keys[0]?.place ?? { file: "Corefile", line: 1, column: 1 };
          const second = placeOfZone(parsed, zone, block.site.port) ?? place;
          throw new CorefileError(
            second,
            `${zone}:${block.site.port} is served by another block already`,
            "put both blocks' plugins into one, or tell them apart by bind or view",
          );
        }
        entry.zones.set(zone, [...there, block]);
      }
    }
  }
  return [...listening.values()];
}

/** The last key that names the zone and port. */
function placeOfZone(parsed: readonly ServerBlock[], zone: Name, port: number) {
  const keys = parsed.flatMap((block) => block.keys);
  return keys.findLast((key) => {
    const read = parseKey(key);
    return read.port === port && read.zones.includes(zone);
  })?.place;
}

function httpOf(blocks: readonly Block[]): HttpRoute[] {
  return blocks.flatMap((block) => block.installed.flatMap(({ installed }) => installed.http ?? []));
}
