// The directive health: health [ADDRESS] { lameduck DURATION }
import { argument, duration, expectArgs, hostPort, onlyOnce, unknownOption } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { createHealth } from "./health.ts";

export const health: Plugin = {
  name: "health",
  setup(directives, { host }) {
    const directive = onlyOnce(directives);
    const [listen] = expectArgs(directive, 0, 1);
    let lameduck = 0;
    for (const option of directive.body ?? []) {
      if (option.name !== "lameduck") throw unknownOption("health", option, ["lameduck"]);
      expectArgs(option, 1);
      lameduck = duration(argument(option, 0));
    }
    const { address, port } = listen ? hostPort(listen) : { address: "", port: 8080 };
    return createHealth({ address, port, lameduck, host });
  },
};
