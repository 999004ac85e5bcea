// The fake kernel keeps the contract.
import { createFakeKernel } from "../index.ts";
import { describeKernelContract } from "../kernel.contract.ts";

describeKernelContract("fake", createFakeKernel);
