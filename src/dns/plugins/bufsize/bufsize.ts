// Bounds what an asker may be sent in one datagram.
import type { Handler } from "../../query.ts";

const PLAIN_UDP = 512;

/** An asker with EDNS0 gets at most `limit` bytes by UDP; one without never gets more than 512. */
export function limitSize(next: Handler, limit: number): Handler {
  return {
    name: "bufsize",
    serve: (query) => {
      if (query.edns) query.udpSize = Math.min(limit, Math.max(PLAIN_UDP, query.edns.udpSize));
      return next.serve(query);
    },
  };
}
