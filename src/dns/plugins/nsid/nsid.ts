// Says which server answered, to askers who want to know (RFC 5001).
import { type Handler, mapReply } from "../../query.ts";

const NSID = 3;

export function withServerId(next: Handler, bytes: Uint8Array): Handler {
  const option = { code: NSID, bytes };
  return {
    name: "nsid",
    serve: (query) =>
      query.edns?.options?.some(({ code }) => code === NSID)
        ? mapReply(next.serve(query), (given) => ({
            ...given,
            options: [...(given.options ?? []).filter(({ code }) => code !== NSID), option],
          }))
        : next.serve(query),
  };
}
