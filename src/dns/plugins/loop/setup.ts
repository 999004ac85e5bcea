// The directive loop: loop
import { expectArgs, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { createLoop } from "./loop.ts";

export const loop: Plugin = {
  name: "loop",
  setup(directives, site) {
    expectArgs(onlyOnce(directives), 0);
    return createLoop(site);
  },
};
