// Answers the questions of class CH about the server itself: version.bind, hostname.bind, authors.bind, …
import { CLASS, type Name, TYPE } from "../../message.ts";
import { type Handler, reply } from "../../query.ts";

export interface About {
  readonly version: string;
  readonly authors: readonly string[];
  readonly host: string;
}

/** A text holds 255 bytes. */
const MOST = 255;

export function aboutServer(next: Handler, about: About): Handler {
  return {
    name: "chaos",
    serve(query) {
      const texts = query.class === CLASS.CH && query.type === TYPE.TXT ? textsOf(query.name, about) : undefined;
      if (!texts) return next.serve(query);
      const answers = texts.map((text) => ({
        name: query.name,
        class: CLASS.CH,
        ttl: 0,
        data: { type: "TXT" as const, texts: [Buffer.from(text, "utf8").subarray(0, MOST).toString("latin1")] },
      }));
      return reply("chaos", { answers });
    },
  };
}

function textsOf(name: Name, about: About): readonly string[] | undefined {
  switch (name) {
    case "authors.bind.":
      return about.authors;
    case "version.bind.":
    case "version.server.":
      return [about.version];
    case "hostname.bind.":
    case "id.server.":
      return [about.host];
    default:
      return undefined;
  }
}
