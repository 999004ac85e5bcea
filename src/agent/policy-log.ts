// What policies' Log rules note: packets that the kernel hands over, as lines that name both ends, the policy and its rule.
import { addressFromBytes, formatAddress, messageOf, protocolTitle } from "../base/index.ts";
import type { ClusterSnapshot } from "../cluster/index.ts";
import { type LoggedPacket, type NetworkNamespace, type Owner, parseOwner } from "../kernel/index.ts";
import type { NodePlan } from "../plan/index.ts";
import { LOG_GROUP } from "../policy/index.ts";

/** One noted packet. */
interface LoggedFlow {
  readonly time: string;
  readonly direction: string;
  readonly policy: Owner;
  /** "namespace/pod", or the address. */
  readonly from: string;
  readonly to: string;
  readonly source: string;
  readonly destination: string;
  /** "TCP", "UDP", …, or a number. */
  readonly protocol: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

export interface PolicyLogStatus {
  /** Since the agent's start. */
  readonly packets: number;
  /** Of these, how many were counted and not written. */
  readonly unwritten: number;
  /** The last ones, newest last. */
  readonly recent: readonly LoggedFlow[];
}

export interface PolicyLog {
  /** Reads what the plan's rules log, from the first plan on that has such rules. */
  follow(plan: NodePlan, snapshot: ClusterSnapshot): void;
  readonly status: PolicyLogStatus;
  close(): void;
}

/** Lines a second that may be written for long, and how many at once: a flood of packets must not become a flood of lines. */
const RATE = 20;
const BURST = 100;
const KEPT = 50;

export function createPolicyLog(namespace: NetworkNamespace, log: (message: string) => void): PolicyLog {
  let stop: (() => void) | undefined;
  let snapshot: ClusterSnapshot | undefined;
  let [packets, unwritten, tokens, filled] = [0, 0, BURST, 0];
  const recent: LoggedFlow[] = [];

  function take(packet: LoggedPacket): void {
    const flow = flowOf(packet, snapshot);
    if (!flow) return;
    packets++;
    recent.push(flow);
    if (recent.length > KEPT) recent.shift();
    const now = performance.now();
    tokens = Math.min(BURST, tokens + ((now - filled) / 1000) * RATE);
    filled = now;
    if (tokens < 1) unwritten++;
    else {
      tokens--;
      log(`policy log: ${sayFlow(flow)}`);
    }
  }

  return {
    follow(plan, newest) {
      snapshot = newest;
      if (stop || !logsAnything(plan)) return;
      try {
        stop = namespace.readPacketLog(LOG_GROUP, take);
      } catch (error) {
        // The rules are in force all the same.
        stop = () => undefined;
        log(`what policies log is not read: ${messageOf(error)}`);
      }
    },
    get status() {
      return { packets, unwritten, recent: [...recent] };
    },
    close() {
      stop?.();
    },
  };
}

function logsAnything({ kernel }: NodePlan): boolean {
  return kernel.tables.some(({ chains }) =>
    chains.some(({ rules }) => rules.some(({ statements }) => statements.some((each) => "log" in each))),
  );
}

/** "production/api (10.244.1.7:40312) → production/mysql (10.244.2.3:3306) TCP: ingress rule 0 of NetworkPolicy.projectcalico.org production/db" */
function sayFlow(flow: LoggedFlow): string {
  const end = (name: string, address: string, port: number | undefined) => {
    const where = port === undefined ? address : `${address.includes(":") ? `[${address}]` : address}:${port}`;
    return name === address ? where : `${name} (${where})`;
  };
  const { kind, namespace, name, rule } = flow.policy;
  const policy = `${flow.direction} rule ${rule ?? "?"} of ${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
  return `${end(flow.from, flow.source, flow.sourcePort)} → ${end(flow.to, flow.destination, flow.destinationPort)} ${flow.protocol}: ${policy}`;
}

/** Undefined for a packet that no policy of ours logged, or that is no IP packet. */
function flowOf({ prefix, bytes }: LoggedPacket, snapshot: ClusterSnapshot | undefined): LoggedFlow | undefined {
  const [, direction, text] = /^(ingress|egress) (\S+)/.exec(prefix) ?? [];
  const policy = text === undefined ? undefined : parseOwner(text);
  const header = headerOf(bytes);
  if (direction === undefined || !policy || !header) return undefined;
  const nameOf = (address: string) => {
    const pod = snapshot?.pods.byAddress(address);
    return pod ? `${pod.metadata.namespace ?? "default"}/${pod.metadata.name}` : address;
  };
  const { source, destination, protocol } = header;
  return {
    time: new Date().toISOString(),
    direction,
    policy,
    from: nameOf(source),
    to: nameOf(destination),
    ...header,
    protocol: protocolTitle(protocol) ?? String(protocol),
  };
}

interface Header {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

function headerOf(bytes: Uint8Array): Header | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  if (version !== 4 && version !== 6) return undefined;
  const [length, at, size] = version === 4 ? [((bytes[0] ?? 0) & 15) * 4, 12, 4] : [40, 8, 16];
  if (bytes.length < at + 2 * size) return undefined;
  const address = (from: number) => formatAddress(addressFromBytes(bytes.subarray(from, from + size)));
  const protocol = bytes[version === 4 ? 9 : 6] ?? 0;
  const port = (from: number) => ((bytes[from] ?? 0) << 8) | (bytes[from + 1] ?? 0);
  const ported = [6, 17, 132, 136].includes(protocol) && bytes.length >= length + 4;
  return {
    source: address(at),
    destination: address(at + size),
    protocol,
    ...(ported ? { sourcePort: port(length), destinationPort: port(length + 2) } : {}),
  };
}
