// The directive nsid: nsid [DATA…]
import { hostname } from "node:os";
import { onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { withServerId } from "./nsid.ts";

export const nsid: Plugin = {
  name: "nsid",
  setup(directives) {
    const words = onlyOnce(directives).args.map(({ text }) => text);
    const bytes = Buffer.from(words.length > 0 ? words.join(" ") : hostname(), "utf8");
    return { handler: (next) => withServerId(next, bytes) };
  },
};
