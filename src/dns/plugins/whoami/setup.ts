// The directive whoami: whoami
import { expectArgs, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { whoAsks } from "./whoami.ts";

export const whoami: Plugin = {
  name: "whoami",
  setup(directives) {
    expectArgs(onlyOnce(directives), 0);
    return { handler: () => whoAsks };
  },
};
