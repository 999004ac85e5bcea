// A watch on the wire: one JSON line per event, bookmarks, a time limit, and a bounded buffer for slow clients.
import type { WatchEvent } from "../store.ts";

export interface WatchStreamOptions {
  readonly subscribe: (listener: (event: WatchEvent) => void) => () => void;
  readonly render: (event: WatchEvent, first: boolean) => object;
  /** The event to send as a bookmark; undefined if the client wants none. */
  readonly bookmark: ((initial: boolean) => WatchEvent) | undefined;
  /** Whether the first bookmark ends the initial list. */
  readonly initialEvents: boolean;
  readonly timeoutMilliseconds: number;
}

/** What a client may leave unread, in bytes, beyond the initial list. */
const bufferLimit = 16 * 1024 * 1024;
const bookmarkInterval = 60_000;

/** The subscription happens at once, so that its errors are thrown here. The stream ends by itself at the time limit, or if the client reads too slowly: it then lists again. */
export function watchStream(options: WatchStreamOptions): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let stop = () => {};
  let first = true;
  const early: Uint8Array[] = [];
  let emit = (line: Uint8Array) => void early.push(line);
  const send = (event: WatchEvent, header: boolean) => {
    emit(encoder.encode(`${JSON.stringify({ type: event.type, object: options.render(event, header) })}\n`));
  };
  const unsubscribe = options.subscribe((event) => {
    send(event, first);
    first = false;
  });
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        for (const line of early) controller.enqueue(line);
        const allowance = early.reduce((sum, line) => sum + line.length, 0);
        emit = (line) => {
          controller.enqueue(line);
          if ((controller.desiredSize ?? 0) < -allowance) end();
        };
        const end = () => {
          stop();
          controller.close();
        };
        const { bookmark } = options;
        if (bookmark && options.initialEvents) send(bookmark(true), first);
        const limit = setTimeout(end, options.timeoutMilliseconds);
        const ticking = bookmark ? setInterval(() => send(bookmark(false), first), bookmarkInterval) : undefined;
        stop = () => {
          unsubscribe();
          clearTimeout(limit);
          clearInterval(ticking);
          emit = () => {};
        };
      },
      cancel: () => stop(),
    },
    { highWaterMark: bufferLimit, size: (line) => line?.length ?? 0 },
  );
}
