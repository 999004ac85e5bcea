// The directive minimal: minimal
import { expectArgs, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { withoutExtras } from "./minimal.ts";

export const minimal: Plugin = {
  name: "minimal",
  setup(directives) {
    expectArgs(onlyOnce(directives), 0);
    return { handler: withoutExtras };
  },
};
