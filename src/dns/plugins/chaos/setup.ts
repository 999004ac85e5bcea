// The directive chaos: chaos [VERSION] [AUTHOR…]
import { hostname } from "node:os";
import { onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { aboutServer } from "./chaos.ts";

export const chaos: Plugin = {
  name: "chaos",
  setup(directives) {
    const [version, ...authors] = onlyOnce(directives).args.map(({ text }) => text);
    const about = { version: version ?? "Fairlead", authors: authors.length > 0 ? authors : ["the Fairlead authors"], host: hostname() };
    return { handler: (next) => aboutServer(next, about) };
  },
};
