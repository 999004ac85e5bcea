// Says by HTTP whether every plugin has what it answers from.
import type { Host, Installed } from "../../plugin.ts";

export interface ReadyOptions {
  readonly address: string;
  readonly port: number;
  /** Asks a plugin again after it was ready once. */
  readonly continuously: boolean;
  readonly host: Host;
}

export function createReady({ address, port, continuously, host }: ReadyOptions): Installed {
  const wasReady = new WeakSet<Installed>();
  let ending = false;
  const waiting = () => {
    const names: string[] = [];
    for (const { plugin, installed } of host.everyInstalled()) {
      if (!installed.ready || (!continuously && wasReady.has(installed))) continue;
      if (installed.ready()) wasReady.add(installed);
      else names.push(plugin);
    }
    return [...new Set(names)].sort();
  };
  const respond = () => {
    if (ending) return { status: 503, body: "the server is ending" };
    const names = waiting();
    return names.length === 0 ? { status: 200, body: "OK" } : { status: 503, body: names.join(",") };
  };
  return {
    http: [{ address, port, path: "/ready", respond }],
    retire: async () => {
      ending = true;
    },
  };
}
