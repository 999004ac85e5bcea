// The other iptables, which keeps its rules in tables of its own and tells nobody of changes: written, read and mended as well.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { until } from "../../../test/patience.ts";

const LEGACY = "/usr/sbin/xtables-legacy-multi";
const skip = process.getuid?.() !== 0 || !existsSync(LEGACY);
const directory = mkdtempSync(join(tmpdir(), "fairlead-legacy-"));
for (const name of ["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"])
  symlinkSync(LEGACY, join(directory, name));
// The programs are looked for once, so this stands before the kernel room is loaded.
process.env.PATH = `${directory}:${process.env.PATH}`;
const { createLinuxKernel, createReconciler, EMPTY_STATE } = await import("../index.ts");
after(() => rmSync(directory, { recursive: true, force: true }));

const MARK = "-m comment --comment ours";

test("rules of iptables-legacy are written, put back within a second or two, and swept", { skip }, async () => {
  const namespace = createLinuxKernel().createNamespace();
  const reconciler = createReconciler({
    namespace,
    owns: {
      links: () => false,
      routeProtocol: 84,
      tables: [],
      iptables: { chains: (name) => name.startsWith("T-"), mark: { chain: "T-CANARY", rule: MARK } },
    },
  });
  try {
    const chains = [
      { name: "T-CANARY", rules: [MARK] },
      { name: "T-A", rules: ["-d 10.96.0.10/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.244.0.2:53"] },
      { name: "PREROUTING", rules: ["-j T-A"] },
    ];
    reconciler.set({ ...EMPTY_STATE, iptables: [{ family: 4, name: "nat", chains }] });
    assert.deepEqual([reconciler.status.inSync, reconciler.status.lastError], [true, undefined]);
    assert.deepEqual(namespace.nft.listTables(), [], "nothing is in nftables");
    const rulesOf = (name: string) =>
      namespace.iptables
        .save(4)
        .find(({ name: table }) => table === "nat")
        ?.chains.find((chain) => chain.name === name)?.rules;
    assert.equal(rulesOf("T-A")?.length, 1);
    namespace.run(() => spawnSync(join(directory, "iptables"), ["-t", "nat", "-F", "T-A"]));
    assert.equal(rulesOf("T-A")?.length, 0);
    await until(() => reconciler.status.drifts > 0);
    assert.equal(rulesOf("T-A")?.length, 1);
    assert.equal(reconciler.status.mended.iptables, 1);
    reconciler.set(EMPTY_STATE);
    assert.equal(rulesOf("T-A"), undefined);
  } finally {
    reconciler.close();
    namespace.close();
  }
});
