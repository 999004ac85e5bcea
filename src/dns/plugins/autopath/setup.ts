// The directive autopath: autopath [ZONE…] RESOLV-CONF | @PLUGIN
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { messageOf } from "../../../base/index.ts";
import { type Argument, CorefileError, expectArgs, onlyOnce, zonesOrBlock } from "../../corefile/index.ts";
import type { Name } from "../../message.ts";
import type { Plugin, Site } from "../../plugin.ts";
import type { Query } from "../../query.ts";
import { toName } from "../../wire/names.ts";
import { createAutopath } from "./autopath.ts";

export const autopath: Plugin = {
  name: "autopath",
  setup(directives, site) {
    const args = expectArgs(onlyOnce(directives), 1, Number.POSITIVE_INFINITY);
    const source = args.at(-1) as Argument;
    const zones = zonesOrBlock(args.slice(0, -1), site.zones);
    const searchPath = readSource(source, site);
    const counter = site.host.metrics.counter("coredns_autopath_success_total", "Counter of requests that did autopath.", ["server"]);
    return { handler: (next) => createAutopath({ zones, searchPath, found: () => counter.with(site.server).inc() }, next) };
  },
};

function readSource(source: Argument, site: Site): (query: Query) => readonly Name[] | undefined {
  if (source.text.startsWith("@")) {
    const plugin = source.text.slice(1);
    if (plugin !== "kubernetes")
      throw new CorefileError(source.place, `${plugin} knows no search paths`, "write @kubernetes, or a file like /etc/resolv.conf");
    if (!site.plugins.includes(plugin))
      throw new CorefileError(source.place, "this server block has no kubernetes", "add it, with pods verified");
    return (query) => {
      const path = site.installed(plugin)?.searchPath?.(query);
      // At last the name as it was meant, in the root.
      return path && [...path, "."];
    };
  }
  const search = readSearch(source, site);
  return () => search;
}

/** The search line of a file; the last one counts. */
function readSearch(source: Argument, { host }: Site): Name[] {
  const path = resolve(host.path === undefined ? "." : dirname(host.path), source.text);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new CorefileError(
      source.place,
      `"${source.text}" cannot be read: ${messageOf(error)}`,
      "name a file like /etc/resolv.conf, or @kubernetes",
    );
  }
  const line = [...text.matchAll(/^\s*search[ \t]+(.*)$/gm)].at(-1)?.[1] ?? "";
  return [...line.split(/\s+/).flatMap((word) => (word === "" ? [] : (toName(word) ?? []))), "."];
}
