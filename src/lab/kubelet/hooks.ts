// Hooks of a container's life: a command inside, a request to it, or a pause.
import type { NetworkNamespace } from "../../kernel/index.ts";
import type { Container, IntOrString } from "../../resources/index.ts";
import { attempt } from "../attempt.ts";
import { portOf } from "./probes.ts";

export interface Hook {
  readonly exec?: { readonly command?: readonly string[] };
  readonly httpGet?: { readonly host?: string; readonly path?: string; readonly port: IntOrString };
  readonly sleep?: { readonly seconds?: number };
}

export interface HookTarget {
  readonly namespace: NetworkNamespace;
  readonly address: string;
  readonly container: Container;
  readonly exec: (command: readonly string[]) => Promise<number>;
}

const TIMEOUT_MS = 30_000;
const SLEEP_STEP_MS = 100;

/** Runs a hook to its end. A hook that fails is over. */
export async function runHook(hook: Hook, target: HookTarget): Promise<void> {
  if (hook.sleep) await sleep((hook.sleep.seconds ?? 0) * 1000);
  if (hook.exec?.command) await target.exec(hook.exec.command);
  const port = hook.httpGet && portOf(target.container, hook.httpGet.port);
  if (!hook.httpGet || port === undefined) return;
  const { host = target.address, path = "/" } = hook.httpGet;
  await attempt(target.namespace, { address: host, port, protocol: "http", timeoutMs: TIMEOUT_MS, path });
}

/**
 * Sleeps in steps. Where the machine lets this process stand still, the lab's nodes, which are to learn meanwhile that the pod ends,
 * stand still with it: a standstill costs one step, not all of the sleep.
 */
async function sleep(milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= SLEEP_STEP_MS)
    await new Promise((resolve) => setTimeout(resolve, Math.min(left, SLEEP_STEP_MS)));
}
