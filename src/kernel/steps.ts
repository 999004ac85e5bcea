// One change of the kernel on the way from the observed to the desired state, and what it is about.
import type { Family } from "../base/index.ts";
import type { IpvsChange, LinkChange, NetworkNamespace } from "./kernel.ts";
import type { NftFamily, NftTable, NftTransaction } from "./netfilter.ts";
import type { IpSet, IptablesTable } from "./state.ts";

export type ObjectKind = "sysctl" | "link" | "address" | "route" | "neighbour" | "fdb" | "rule" | "table" | "iptables" | "ipset" | "ipvs";

/** `object` names what is changed, the same text in every run: it tells one object's drift and failures from another's. */
export type ChangeStep =
  | { readonly kind: "sysctl"; readonly object: string; readonly key: string; readonly value: string }
  | {
      readonly kind: "link" | "address" | "route" | "neighbour" | "fdb" | "rule";
      readonly object: string;
      readonly change: LinkChange;
    }
  | {
      readonly kind: "table";
      readonly object: string;
      readonly family: NftFamily;
      readonly name: string;
      /** The last one is what holds at once; no packet is concerned by those before it. */
      readonly transactions: readonly NftTransaction[];
      /** The table as it is afterwards; undefined if it is deleted. */
      readonly table: NftTable | undefined;
      /** Why the table can't be written at all; thrown when the step is carried out, so that the other steps go on. */
      readonly unwritable?: unknown;
    }
  | {
      readonly kind: "iptables";
      readonly object: string;
      readonly family: Family;
      /** Input of iptables-restore. */
      readonly commands: string;
      /** The table as it is afterwards. */
      readonly table: IptablesTable;
    }
  | {
      readonly kind: "ipset";
      readonly object: string;
      readonly op: "add" | "delete" | "change";
      /** As it is afterwards, or (deleted) was. */
      readonly set: IpSet;
      readonly add?: readonly string[];
      readonly delete?: readonly string[];
    }
  | {
      readonly kind: "ipvs";
      readonly object: string;
      readonly change: IpvsChange;
      /** The end of what was told to end: no drift. */
      readonly expected?: boolean;
    };

/** Carries out one step. @throws KernelError as the kernel says */
export function carryOut(namespace: NetworkNamespace, step: ChangeStep): void {
  if (step.kind === "sysctl") namespace.writeSysctl(step.key, step.value);
  else if (step.kind === "table" && step.unwritable !== undefined) throw step.unwritable;
  else if (step.kind === "table") for (const transaction of step.transactions) namespace.nft.run(transaction);
  else if (step.kind === "iptables") namespace.iptables.restore(step.family, step.commands);
  else if (step.kind === "ipvs") namespace.ipvs.apply(step.change);
  else if (step.kind === "ipset") changeSet(namespace, step);
  else namespace.apply(step.change);
}

function changeSet({ ipsets }: NetworkNamespace, step: Extract<ChangeStep, { kind: "ipset" }>): void {
  if (step.op === "add") ipsets.create(step.set);
  else if (step.op === "delete") ipsets.destroy(step.set.name);
  else ipsets.change(step.set.name, { add: step.add ?? [], delete: step.delete ?? [] });
}
