// Where the contract is tried: a namespace with a way out.
import assert from "node:assert/strict";
import type { Kernel, NetworkNamespace } from "../kernel.ts";

export function refused(action: () => unknown, errnoName: string): void {
  assert.throws(action, (error: { errnoName?: string }) => {
    assert.equal(error.errnoName, errnoName, String(error));
    return true;
  });
}

/** A namespace whose eth0 (10.112.0.51/24, up) ends in another namespace as n1. */
export async function withNode(
  kernel: Kernel,
  action: (namespace: NetworkNamespace, fabric: NetworkNamespace, kernel: Kernel) => void | Promise<void>,
): Promise<void> {
  const namespace = kernel.createNamespace();
  const fabric = kernel.createNamespace();
  try {
    namespace.addVethPair({ name: "eth0", up: true }, { name: "n1", namespace: fabric, up: true });
    namespace.apply({ op: "add", address: { link: "eth0", address: "10.112.0.51/24" } });
    await action(namespace, fabric, kernel);
  } finally {
    namespace.close();
    fabric.close();
  }
}
