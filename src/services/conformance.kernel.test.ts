// Several hundred rows of what Services must do, each with real packets: test/service-rows.ts holds the table.
import { after, before, describe } from "node:test";
import { testRows } from "../../test/service-conformance.ts";
import { ServiceNetwork, TESTED_MODES } from "../../test/service-network.ts";
import { rowObjects } from "../../test/service-rows.ts";

const skip = process.getuid?.() !== 0;

for (const mode of TESTED_MODES)
  describe(`Services by ${mode}`, { skip }, () => {
    let net: ServiceNetwork;
    before(() => {
      net = new ServiceNetwork(mode);
      net.set(rowObjects());
    });
    after(() => net?.close());
    testRows(() => net);
  });
