// The directive reload: reload [INTERVAL] [JITTER]
import { duration, expectArgs, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { createReload } from "./reload.ts";

export const reload: Plugin = {
  name: "reload",
  setup(directives, { host }) {
    const [interval, jitter] = expectArgs(onlyOnce(directives), 0, 2);
    const milliseconds = interval ? duration(interval, 2000) : 30_000;
    return createReload({ interval: milliseconds, jitter: jitter ? duration(jitter, 1000) : Math.min(15_000, milliseconds / 2), host });
  },
};
