// The directive bufsize: bufsize [SIZE]
import { expectArgs, integer, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { limitSize } from "./bufsize.ts";

/** What passes every path unfragmented (DNS flag day 2020). */
const USUAL = 1232;

export const bufsize: Plugin = {
  name: "bufsize",
  setup(directives) {
    const [size] = expectArgs(onlyOnce(directives), 0, 1);
    const limit = size ? integer(size, 512, 4096) : USUAL;
    return { handler: (next) => limitSize(next, limit) };
  },
};
