// The directive ready: ready [ADDRESS] { monitor until-ready | continuously }
import { argument, choice, expectArgs, hostPort, onlyOnce, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { createReady } from "./ready.ts";

export const ready: Plugin = {
  name: "ready",
  setup(directives, { host }) {
    const directive = onlyOnce(directives);
    const [listen] = expectArgs(directive, 0, 1);
    let continuously = false;
    for (const option of directive.body ?? []) {
      if (option.name !== "monitor") throw unknownOption("ready", option, ["monitor"]);
      expectArgs(option, 1);
      continuously = choice(argument(option, 0), ["until-ready", "continuously"]) === "continuously";
    }
    const { address, port } = listen ? hostPort(listen) : { address: "", port: 8181 };
    return createReady({ address, port, continuously, host });
  },
};
