// An agent's end: the stream of one of several relays as the source of snapshots, and the way over to another.
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { StringDecoder } from "node:string_decoder";
import { FairleadError, hostOfUrl, messageOf } from "../base/index.ts";
import { ChangeSource, type ClusterSource, type ObjectChange } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";
import { objectOfKey, readLine } from "./lines.ts";

export interface RelayAccess {
  /** "https://10.112.0.10:5473"; the order does not matter. */
  readonly relays: readonly URL[];
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer; readonly servername?: string };
  /** Asked for each connection: tokens in files are renewed. */
  readonly token?: () => string | undefined;
}

export interface RelayClientOptions extends RelayAccess {
  readonly node: string;
  /** Told of each failed attempt; it is tried again by itself. */
  readonly onProblem?: (message: string) => void;
  /** Milliseconds without a line after which a relay counts as dead. */
  readonly silence?: number;
  /** Milliseconds to wait before an attempt, from number 1. */
  readonly pause?: (attempt: number) => number;
}

export interface RelaySource extends ClusterSource {
  /** The relay that is followed now; undefined between two. */
  readonly relay: string | undefined;
}

/** Relays say every five seconds that they are there. */
const SILENCE_MS = 16_000;
const LONGEST_LINE = 16 << 20;

/**
 * "host:port", "[::1]:port", or a URL; several by commas. Without a scheme it is TLS.
 * @throws FairleadError `bad-relay`
 */
export function parseRelays(text: string): URL[] {
  return text.split(",").map((each) => {
    const trimmed = each.trim();
    try {
      const url = new URL(/^https?:\/\//.test(trimmed) ? trimmed : `https://${trimmed}`);
      if (url.hostname !== "" && (url.pathname === "/" || url.pathname === "")) return url;
    } catch {
      // Told below.
    }
    throw new FairleadError("bad-relay", `"${trimmed}" is no relay`, {
      remedy: "write it like relay.fairlead.svc:5473, several by commas",
    });
  });
}

/** Follows the relays: one at a time, another as soon as it fails. What is known stays known meanwhile. Synced once one has told all. */
export function sourceFromRelay(options: RelayClientOptions): RelaySource {
  const { relays, onProblem = () => {}, pause = withJitter } = options;
  const source = new ChangeSource();
  const known = new Map<string, string>();
  const stop = new AbortController();
  let current: string | undefined;
  let next = Math.floor(Math.random() * relays.length);

  async function run(): Promise<void> {
    let attempt = 0;
    while (!stop.signal.aborted) {
      const relay = relays[next++ % relays.length];
      if (!relay) return;
      try {
        await follow(relay, () => {
          attempt = 0;
          current = relay.host;
        });
        // It asked to be left.
        attempt = Math.max(attempt, 0);
      } catch (error) {
        if (stop.signal.aborted) return;
        onProblem(`relay ${relay.host}: ${messageOf(error)}`);
      }
      current = undefined;
      attempt++;
      // Another replica is asked at once; only after all of them is there reason to wait.
      if (attempt >= relays.length) await sleep(pause(attempt - relays.length + 1), stop.signal);
    }
  }

  async function follow(relay: URL, connected: () => void): Promise<void> {
    const seen = new Set<string>();
    let complete = false;
    for await (const text of lines(relay, options, stop.signal)) {
      const line = readLine(text);
      if (!line) throw new FairleadError("bad-relay", `what it says is not understood: "${text.slice(0, 60)}"`);
      if (line.type === "put") {
        connected();
        if (!complete) seen.add(line.key);
        if (known.get(line.key) === line.digest) continue;
        const type = known.has(line.key) ? "MODIFIED" : "ADDED";
        known.set(line.key, line.digest);
        source.change([{ type, object: JSON.parse(line.json) as KubeObject }]);
      } else if (line.type === "gone") {
        if (known.delete(line.key)) source.change([{ type: "DELETED", object: objectOfKey(line.key) }]);
      } else if (line.type === "complete") {
        connected();
        complete = true;
        const gone = [...known.keys()].filter((key) => !seen.has(key));
        for (const key of gone) known.delete(key);
        source.change(gone.map((key): ObjectChange => ({ type: "DELETED", object: objectOfKey(key) })));
        seen.clear();
        if (!source.synced) source.markSynced();
      } else if (line.type === "move") return;
    }
    throw new FairleadError("relay-gone", "the stream ended");
  }

  void run();
  const close = source.close.bind(source);
  Object.defineProperty(source, "relay", { get: () => current });
  source.close = () => {
    stop.abort();
    close();
  };
  return source as ChangeSource & RelaySource;
}

/** The lines of a relay's stream. @throws Error as the connection says, FairleadError `relay-refused` */
async function* lines(
  relay: URL,
  { node, tls, token, silence = SILENCE_MS }: RelayClientOptions,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const stream = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
    const bearer = token?.();
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    const path = `/stream?node=${encodeURIComponent(node)}`;
    const host = hostOfUrl(relay);
    const common = { host, port: relay.port || 443, path, headers, signal, agent: false as const };
    const outgoing = relay.protocol === "https:" ? httpsRequest({ ...common, ...tls }) : httpRequest(common);
    outgoing.setTimeout(silence, () => outgoing.destroy(new Error(`nothing was heard of it for ${silence / 1000} s`)));
    outgoing.on("error", reject);
    outgoing.on("response", resolve);
    outgoing.end();
  });
  try {
    if (stream.statusCode !== 200) {
      let said = "";
      for await (const chunk of stream) said = `${said}${chunk}`.slice(0, 200);
      throw new FairleadError("relay-refused", `status ${stream.statusCode}: ${said.trim()}`);
    }
    const decoder = new StringDecoder("utf8");
    let rest = "";
    for await (const chunk of stream) {
      const text = rest + decoder.write(chunk as Buffer);
      let from = 0;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", from)) {
        yield text.slice(from, end);
        from = end + 1;
      }
      rest = text.slice(from);
      if (rest.length > LONGEST_LINE) throw new RangeError(`a line is longer than ${LONGEST_LINE} characters`);
    }
  } finally {
    stream.destroy();
  }
}

/** A quarter of a second, doubling, up to ten; half to all of it, so that a replica's agents do not come to the next at once. */
function withJitter(attempt: number): number {
  return Math.min(10_000, 250 * 2 ** Math.min(10, attempt - 1)) * (0.5 + Math.random() / 2);
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
    if (signal.aborted) resolve();
  });
}
