// Answers questions for ANY with one small record (RFC 8482), so that they can't be used to amplify floods.
import { CLASS, TYPE } from "../../message.ts";
import { type Handler, reply } from "../../query.ts";

const TTL = 8482;

export function shortAny(next: Handler): Handler {
  return {
    name: "any",
    serve: (query) =>
      query.type === TYPE.ANY
        ? reply("any", {
            answers: [{ name: query.name, class: CLASS.IN, ttl: TTL, data: { type: "HINFO", cpu: "ANY", os: "See RFC 8482" } }],
          })
        : next.serve(query),
  };
}
