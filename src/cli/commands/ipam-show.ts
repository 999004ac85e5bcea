// fairlead ipam show: usage of pools and blocks, or whose an address is.
import type { Command } from "commander";
import { FairleadError, formatAddress, textTable, tryParseAddress } from "../../base/index.ts";
import { type AddressUse, addressUses, type BlockUsage, blockUsage, type PoolUsage, poolUsage } from "../../ipam/index.ts";
import { Answer } from "../exit.ts";
import { type IpamFlags, ipamFlags, readIpam, withIpam } from "../ipam-view.ts";
import { paint, printJson } from "../terminal.ts";

export function command(command: Command): void {
  ipamFlags(command)
    .argument("[address]", "an address: who has it")
    .option("--addresses", "every address that is given out")
    .addHelpText(
      "after",
      "\nExit status: 0; 1 where an address is nobody's.\n\nExamples:\n  fairlead ipam show\n  fairlead ipam show 10.244.0.7\n  fairlead ipam show --addresses -o json\n  fairlead ipam show --kubeconfig ~/.kube/config\n",
    )
    .action(async (text: string | undefined, flags: IpamFlags & { readonly addresses?: boolean }) => {
      const objects = await withIpam(flags, readIpam);
      if (text !== undefined) return showAddress(text, addressUses(objects), flags);
      const [pools, blocks] = [poolUsage(objects), blockUsage(objects)];
      const addresses = flags.addresses ? addressUses(objects) : undefined;
      if (flags.output === "json") printJson({ pools, blocks, ...(addresses ? { addresses } : {}) });
      else process.stdout.write(`${[showPools(pools), showBlocks(blocks), ...(addresses ? [showUses(addresses)] : [])].join("\n\n")}\n`);
    });
}

function showAddress(text: string, uses: readonly AddressUse[], flags: IpamFlags): void {
  const parsed = tryParseAddress(text);
  if (!parsed) throw new FairleadError("bad-address", `"${text}" is not an IP address`, { remedy: "write it like 10.244.0.7" });
  const address = formatAddress(parsed);
  const found = uses.find((use) => use.address === address);
  if (flags.output === "json") printJson({ address, allocation: found ?? null });
  else if (found) process.stdout.write(`${showUses([found])}\n`);
  else process.stdout.write(`${address} is given out to nobody\n`);
  if (!found) throw new Answer(1);
}

function showPools(pools: readonly PoolUsage[]): string {
  if (pools.length === 0) return "no pools: this cluster's addresses do not come from blocks";
  return textTable(
    ["POOL", "RANGE", "BLOCKS OF", "WRAPPED", "NAT", "BLOCKS", "USED", "SIZE"],
    pools.map((pool) => [
      paint.name(pool.name) + (pool.disabled ? paint.warn(" disabled") : ""),
      pool.cidr,
      `/${pool.blockSize}`,
      pool.encapsulation,
      pool.natOutgoing ? "outgoing" : "-",
      String(pool.blocks),
      String(pool.used),
      pool.size < 1e9 ? String(pool.size) : pool.size.toExponential(1),
    ]),
    paint.dim,
  );
}

function showBlocks(blocks: readonly BlockUsage[]): string {
  return textTable(
    ["BLOCK", "NODE", "USED", "SIZE", "BORROWED"],
    blocks.map((block) => [
      block.cidr,
      block.node === null ? paint.warn("nobody's") : paint.name(block.node),
      String(block.used),
      String(block.size),
      block.borrowed > 0 ? String(block.borrowed) : "-",
    ]),
    paint.dim,
  );
}

function showUses(uses: readonly AddressUse[]): string {
  return textTable(
    ["ADDRESS", "BLOCK", "NODE", "FOR", "HANDLE"],
    uses.map((use) => [paint.name(use.address), use.block, use.node ?? "-", use.use ?? "-", use.handle ?? "-"]),
    paint.dim,
  );
}
