// A watch on the wire: one JSON line per event, bookmarks, a time limit, and a bounded buffer for slow clients.
//
// It is written to the connection itself: what happens in one turn of the event loop goes out in one write, however many events it is.
import type { ServerResponse } from "node:http";
import type { WatchEvent } from "../store.ts";

export interface WatchStreamOptions {
  readonly subscribe: (listener: (event: WatchEvent) => void) => () => void;
  /** An event's bytes; `first`: nothing was sent before it. */
  readonly line: (event: WatchEvent, first: boolean) => Uint8Array;
  /** The event to send as a bookmark; undefined if the client wants none. */
  readonly bookmark: ((initial: boolean) => WatchEvent) | undefined;
  /** Whether the first bookmark ends the initial list. */
  readonly initialEvents: boolean;
  readonly timeoutMilliseconds: number;
}

/** What a client may leave unread, in bytes, beyond the initial list. */
const bufferLimit = 16 * 1024 * 1024;
const bookmarkInterval = 60_000;

/** Answers with the events. It ends by itself at the time limit, or if the client reads too slowly: it then lists again. @throws ApiError of the subscription, before anything was answered */
export function serveWatch(options: WatchStreamOptions, outgoing: ServerResponse): void {
  let waiting: Uint8Array[] = [];
  let limit = bufferLimit;
  let first = true;
  let ended = false;
  const flush = () => {
    const lines = waiting;
    waiting = [];
    if (ended) return;
    outgoing.write(lines.length === 1 ? lines[0] : Buffer.concat(lines));
    if (outgoing.writableLength > limit) end();
  };
  const send = (event: WatchEvent) => {
    if (waiting.push(options.line(event, first)) === 1) setImmediate(flush);
    first = false;
  };
  const unsubscribe = options.subscribe(send);
  outgoing.writeHead(200, { "content-type": "application/json" });
  outgoing.flushHeaders();
  const { bookmark } = options;
  if (bookmark && options.initialEvents) send(bookmark(true));
  limit += waiting.reduce((sum, line) => sum + line.length, 0);
  const stop = () => {
    ended = true;
    unsubscribe();
    clearTimeout(timer);
    clearInterval(ticking);
  };
  const end = () => {
    stop();
    outgoing.end();
  };
  const timer = setTimeout(end, options.timeoutMilliseconds);
  const ticking = bookmark ? setInterval(() => send(bookmark(false)), bookmarkInterval) : undefined;
  outgoing.on("close", stop);
  outgoing.on("error", stop);
}
