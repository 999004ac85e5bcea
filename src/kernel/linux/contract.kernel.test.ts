// The real kernel keeps the contract that the fake keeps.
import { createLinuxKernel, KernelError } from "../index.ts";
import { describeKernelContract } from "../kernel.contract.ts";

// nftables joins the suite once the namespace has it.
const openNftables = () => {
  throw new KernelError({ errno: "ENOSYS", operation: "open nftables" });
};
const kernel = createLinuxKernel({ openNftables });
describeKernelContract("linux", () => kernel, { nft: false });
