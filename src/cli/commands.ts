// The table of commands: what --help lists, and which file answers. A command's code is loaded only when it is called.
import type { Command } from "commander";

export interface CommandEntry {
  /** "lab up": a word of a group and one within it. */
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<{ readonly command: (command: Command) => void }>;
}

export const COMMANDS: readonly CommandEntry[] = [
  { name: "start", summary: "raise a lab with the example shop and show it, until Ctrl-C", load: () => import("./commands/start.ts") },
  { name: "lab up", summary: "raise a lab, apply manifests, return when all is ready", load: () => import("./commands/lab-up.ts") },
  { name: "lab down", summary: "take a lab down and leave nothing behind", load: () => import("./commands/lab-down.ts") },
  {
    name: "lab status",
    summary: "nodes, pods and Services of a lab, and whether all is in sync",
    load: () => import("./commands/lab-status.ts"),
  },
  { name: "lab list", summary: "labs of this user", load: () => import("./commands/lab-list.ts") },
  { name: "lab kubeconfig", summary: "the path of a lab's kubeconfig, or its text", load: () => import("./commands/lab-kubeconfig.ts") },
  { name: "lab node", summary: "run a command in a node's namespace", load: () => import("./commands/lab-node.ts") },
  { name: "exec", summary: "run a command inside a pod", load: () => import("./commands/exec.ts") },
  { name: "probe", summary: "one real attempt to reach something", load: () => import("./commands/probe.ts") },
  { name: "matrix", summary: "who reaches whom: every pair, by packets or by calculation", load: () => import("./commands/matrix.ts") },
  { name: "trace", summary: "the packet's way, hop by hop, with reasons", load: () => import("./commands/trace.ts") },
  {
    name: "policy explain",
    summary: "which policies have a say, and which rule decides",
    load: () => import("./commands/policy-explain.ts"),
  },
  { name: "policy check", summary: "policies that are invalid, or hardly meant so", load: () => import("./commands/policy-check.ts") },
  { name: "policy diff", summary: "whose verdict changes between two sets of manifests", load: () => import("./commands/policy-diff.ts") },
  {
    name: "policy test",
    summary: "truth tables by calculation, for CI: text, JUnit, TAP",
    load: () => import("./commands/policy-test.ts"),
  },
  {
    name: "services",
    summary: "Services as a node serves them: rules, end points, connections",
    load: () => import("./commands/services.ts"),
  },
  {
    name: "bgp status",
    summary: "each node's BGP neighbours, and why a session is not up",
    load: () => import("./commands/bgp-status.ts"),
  },
  {
    name: "bgp routes",
    summary: "routes in, best and out, with the reason of each choice",
    load: () => import("./commands/bgp-routes.ts"),
  },
  { name: "bgp monitor", summary: "a node's BGP messages as they come, as JSON lines", load: () => import("./commands/bgp-monitor.ts") },
  { name: "bgp replay", summary: "a monitor's lines read again, and the routes they give", load: () => import("./commands/bgp-replay.ts") },
  {
    name: "dns query",
    summary: "a name as a pod's resolver looks it up, question by question",
    load: () => import("./commands/dns-query.ts"),
  },
  {
    name: "dns status",
    summary: "DNS servers: rates, failing and slow look-ups, cache, upstreams",
    load: () => import("./commands/dns-status.ts"),
  },
  { name: "dns serve", summary: "a DNS server by a Corefile, on this machine", load: () => import("./commands/dns-serve.ts") },
  { name: "dns check", summary: "whether a Corefile is right", load: () => import("./commands/dns-check.ts") },
  { name: "ipam show", summary: "usage of address pools and blocks; whose an address is", load: () => import("./commands/ipam-show.ts") },
  { name: "ipam check", summary: "leaked, doubled and orphaned addresses", load: () => import("./commands/ipam-check.ts") },
  { name: "ipam release", summary: "give addresses back by hand", load: () => import("./commands/ipam-release.ts") },
  {
    name: "bench services",
    summary: "Services by each mode against their number: latency, programming time, memory",
    load: () => import("./commands/bench-services.ts"),
  },
  { name: "agent", summary: "run this node's network: the agent of a real cluster", load: () => import("./commands/agent.ts") },
  { name: "agent status", summary: "what the agent of this node says of itself", load: () => import("./commands/agent-status.ts") },
  { name: "api", summary: "the embedded Kubernetes API server, alone", load: () => import("./commands/api.ts") },
  {
    name: "crds",
    summary: "definitions of the kinds that Fairlead reads, for a cluster without them",
    load: () => import("./commands/crds.ts"),
  },
  { name: "relay", summary: "watch the API server once, and feed any number of agents", load: () => import("./commands/relay.ts") },
  {
    name: "bench network",
    summary: "throughput of overlay, routed and plain forwarding",
    load: () => import("./commands/bench-network.ts"),
  },
  { name: "completion", summary: "shell completion for bash, zsh or fish", load: () => import("./commands/completion.ts") },
];

/** Words that stand for several commands. */
export const GROUPS: Readonly<Record<string, string>> = {
  lab: "a cluster's network on this machine, in network namespaces",
  bgp: "routes between nodes and routers: neighbours, routes, messages",
  dns: "the cluster's DNS: asked, looked at, served",
  bench: "measurements, side by side",
  ipam: "addresses: pools, blocks, and what is wrong with them",
  policy: "policies explained, checked, compared and tested",
};
