// The rows of what Services must do, in the second kernel: by IPVS, which only it has. It is emulated and slow, so a fifth of them.
//
//   FAIRLEAD_ROWS=all npm run test:vm -- src/services/conformance.vm.test.ts      all (five minutes)
import { after, before, describe } from "node:test";
import { testRows } from "../../test/service-conformance.ts";
import { ServiceNetwork } from "../../test/service-network.ts";
import { rowObjects } from "../../test/service-rows.ts";

describe("Services by ipvs", () => {
  let net: ServiceNetwork;
  before(() => {
    net = new ServiceNetwork("ipvs");
    net.set(rowObjects());
  });
  after(() => net?.close());
  testRows(() => net, { silence: 2500, patience: 60_000, atOnce: 16, every: 5 });
});
