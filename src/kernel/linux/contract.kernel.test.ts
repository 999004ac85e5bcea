// The real kernel keeps the contract that the fake keeps.
import { release } from "node:os";
import { createLinuxKernel } from "../index.ts";
import { describeKernelContract } from "../kernel.contract.ts";

const kernel = createLinuxKernel();
describeKernelContract("linux", () => kernel, { release: release() });
