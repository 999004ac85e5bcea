// The directive any: any
import { expectArgs, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { shortAny } from "./any.ts";

export const any: Plugin = {
  name: "any",
  setup(directives) {
    expectArgs(onlyOnce(directives), 0);
    return { handler: shortAny };
  },
};
