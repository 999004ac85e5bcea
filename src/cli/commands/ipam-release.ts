// fairlead ipam release: gives back addresses, or a block of a node that is gone, by hand.
import type { Command } from "commander";
import { FairleadError, formatAddress, tryParseAddress } from "../../base/index.ts";
import { addressUses, auditIpam, BlockIpam, type IpamObjects } from "../../ipam/index.ts";
import { Answer } from "../exit.ts";
import { type IpamFlags, ipamFlags, readIpam, withIpam } from "../ipam-view.ts";
import { paint, printJson } from "../terminal.ts";

interface ReleaseFlags extends IpamFlags {
  readonly leaked?: boolean;
  readonly handle?: string;
  readonly yes?: boolean;
}

export function command(command: Command): void {
  ipamFlags(command)
    .argument("[address...]", "addresses")
    .option("--handle <handle>", "all addresses of a handle, as ipam show names it")
    .option("--leaked", "all addresses that ipam check takes for leaked")
    .option("--yes", "do it; without this, what would be given back is only shown")
    .addHelpText(
      "after",
      "\nAn address that a pod still uses can be given to another pod then: look at it first (fairlead ipam show ADDRESS).\n\nExit status: 0 given back (or, without --yes, nothing to do), 1 there is something to give back and --yes is missing.\n\nExamples:\n  fairlead ipam release 10.244.0.7\n  fairlead ipam release 10.244.0.7 --yes\n  fairlead ipam release --leaked --yes\n",
    )
    .action(async (texts: string[], flags: ReleaseFlags) => {
      const addresses = texts.map(canonical);
      if (addresses.length === 0 && flags.handle === undefined && !flags.leaked)
        throw new FairleadError("nothing-named", "what is to be given back is not said", {
          remedy: "name addresses, --handle or --leaked",
        });
      const named = await withIpam(flags, async (api) => {
        const objects = await readIpam(api);
        const wanted = choose(objects, addresses, flags);
        if (!flags.yes) return wanted;
        for (const { address, handle, block } of wanted) {
          // The node stands for nobody: only what is named is touched.
          const ipam = new BlockIpam({ node: "", api, snapshot: () => objects.snapshot });
          if (handle !== null) await ipam.releaseAddress(handle, address, block);
        }
        return wanted;
      });
      if (flags.output === "json") printJson({ released: flags.yes === true, addresses: named });
      else if (named.length === 0) process.stdout.write("nothing of it is given out\n");
      else
        for (const { address, node, use, handle } of named)
          process.stdout.write(
            `${flags.yes ? paint.good("given back") : "would be given back"}: ${address} (${use ?? handle} on ${node ?? "?"})\n`,
          );
      if (named.length === 0 || flags.yes) return;
      if (flags.output !== "json") process.stdout.write(`${paint.dim("add --yes to do it")}\n`);
      throw new Answer(1);
    });
}

function canonical(text: string): string {
  const address = tryParseAddress(text);
  if (!address) throw new FairleadError("bad-address", `"${text}" is not an IP address`, { remedy: "write it like 10.244.0.7" });
  return formatAddress(address);
}

function choose(objects: IpamObjects, addresses: readonly string[], { handle, leaked }: ReleaseFlags) {
  const lost = new Set(leaked ? auditIpam(objects).flatMap(({ kind, object }) => (kind === "leak" ? [object] : [])) : []);
  return addressUses(objects).filter(
    (use) => addresses.includes(use.address) || (handle !== undefined && use.handle === handle) || lost.has(use.address),
  );
}
