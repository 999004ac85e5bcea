// The real kernel keeps the contract that the fake keeps.
import { lacksLinux } from "../../../test/linux-release.ts";
import { createLinuxKernel } from "../index.ts";
import { describeKernelContract } from "../kernel.contract.ts";

const kernel = createLinuxKernel();
describeKernelContract("linux", () => kernel, { lacks: lacksLinux });
