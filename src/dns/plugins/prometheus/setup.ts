// The directive prometheus: prometheus [ADDRESS]
import { CorefileError, expectArgs, hostPort, onlyOnce } from "../../corefile/index.ts";
import type { Plugin } from "../../plugin.ts";
import { createAnswerMetrics } from "./prometheus.ts";

export const prometheus: Plugin = {
  name: "prometheus",
  setup(directives, site) {
    const directive = onlyOnce(directives);
    const [listen] = expectArgs(directive, 0, 1);
    const [option] = directive.body ?? [];
    if (option) throw new CorefileError(option.place, `prometheus has no option "${option.name}"`, "it has none");
    const { address, port } = listen ? hostPort(listen) : { address: "127.0.0.1", port: 9153 };
    const { metrics } = site.host;
    const respond = () => ({ status: 200, body: metrics.print(), contentType: "text/plain; version=0.0.4; charset=utf-8" });
    const answers = createAnswerMetrics(site);
    return { http: [{ address, port, path: "/metrics", respond }], observe: answers.observe, start: answers.start };
  },
};
