// Who a node's neighbours are: the full mesh of nodes, and what BGPPeer objects say.
import { addressBits, type Family, familyOf, formatAddress, messageOf, tryParseAddress } from "../base/index.ts";
import type { PeerConfig } from "../bgp/index.ts";
import { compileCalicoSelector } from "../resources/index.ts";
import { planFilter } from "./filters.ts";
import type { BgpNode } from "./nodes.ts";
import { asNumberOf, type BgpObject, fieldsOf, listOf, numberOf, secondsOf, textOf, unknownFields } from "./objects.ts";

/** As `calicoctl node status` calls them. */
export type NeighbourKind = "node-to-node mesh" | "node specific" | "global";

export interface Neighbour {
  readonly kind: NeighbourKind;
  /** The object that asks for it; the cluster's BGPConfiguration for the mesh. */
  readonly owner: string;
  /** The node at the other end, where it is one. */
  readonly node: string | undefined;
  readonly peer: PeerConfig;
  /** BFD's interval and multiplier, where it watches the neighbour. */
  readonly bfd: { readonly intervalMs: number; readonly multiplier: number } | undefined;
  /** The router by which the neighbour is reached. */
  readonly reachableBy: string | undefined;
  /** Why there can be no session yet, such as a password that is not known. */
  readonly withheld: string | undefined;
}

export interface SecretKey {
  readonly name: string;
  readonly key: string;
}

export interface NeighbourContext {
  readonly self: BgpNode;
  readonly nodes: ReadonlyMap<string, BgpNode>;
  readonly families: readonly Family[];
  /** Where nodes listen. */
  readonly port: number;
  readonly filters: ReadonlyMap<string, BgpObject>;
  /** A password by its Secret; undefined: it is not there. */
  readonly secret: (key: SecretKey) => string | undefined;
  /** Told of what is wrong. */
  readonly remark: (remark: string) => void;
}

/** Three seconds between signs of life, nine of silence: what routers in data centres are set to. */
const HOLD_SECONDS = 9;
const CONNECT_RETRY_SECONDS = 5;
const RESTART_SECONDS = 120;
/** 300 ms three times: a dead neighbour is noticed within a second. */
const BFD = { intervalMs: 300, multiplier: 3 } as const;
const BFD_ANNOTATION = "fairlead.dev/bfd";

/** BGPPeer's fields: followed, or why not. */
const PEER_FIELDS = {
  node: true,
  nodeSelector: true,
  peerIP: true,
  asNumber: true,
  peerSelector: true,
  keepOriginalNextHop: true,
  nextHopMode: true,
  password: true,
  sourceAddress: true,
  maxRestartTime: true,
  keepaliveTime: true,
  numAllowedLocalASNumbers: true,
  localASNumber: true,
  filters: true,
  reachableBy: true,
  ttlSecurity: true,
  reversePeering: true,
  failureDetectionMode: true,
  localWorkloadSelector: "asks for peering with pods, which is not supported",
} as const;

interface Settings {
  readonly kind: NeighbourKind;
  readonly owner: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly secret: SecretKey | undefined;
  readonly restartSeconds: number;
  readonly bfd: boolean;
}

/** The full mesh: every other node that is no route reflector, unless this one is. */
export function meshNeighbours(configuration: BgpObject | undefined, context: NeighbourContext): Neighbour[] {
  const { self, nodes } = context;
  const spec = configuration?.spec ?? {};
  if (spec.nodeToNodeMeshEnabled === false || self.clusterId !== undefined) return [];
  const owner = `BGPConfiguration ${configuration?.name ?? "default"}`;
  const settings: Settings = {
    kind: "node-to-node mesh",
    owner,
    annotations: configuration?.annotations ?? {},
    secret: secretOf(spec.nodeMeshPassword, owner, context),
    restartSeconds: restartOf(spec.nodeMeshMaxRestartTime, owner, context),
    bfd: false,
  };
  return [...nodes.values()]
    .filter(({ name, clusterId }) => name !== self.name && clusterId === undefined)
    .flatMap((node) => nodeNeighbours(node, settings, context, {}));
}

/** What one BGPPeer means for this node. */
export function peerNeighbours(object: BgpObject, context: NeighbourContext): Neighbour[] {
  const { spec, name } = object;
  const { self, nodes, remark } = context;
  const owner = `BGPPeer ${name}`;
  for (const each of unknownFields(object, PEER_FIELDS)) remark(each);
  const chosen = choice(spec.nodeSelector, owner, "nodeSelector", remark);
  const remote = choice(spec.peerSelector, owner, "peerSelector", remark);
  if (chosen === "wrong" || remote === "wrong") return [];
  const named = textOf(spec.node);
  const here = named !== undefined ? named === self.name : (chosen?.(self.labels) ?? true);
  const settings: Settings = {
    kind: named === undefined && chosen === undefined ? "global" : "node specific",
    owner,
    annotations: object.annotations,
    secret: undefined,
    restartSeconds: restartOf(spec.maxRestartTime, owner, context),
    bfd: spec.failureDetectionMode === "BFDIfDirectlyConnected",
  };
  // Secrets are asked for only where they are needed.
  const withSecret = () => ({ ...settings, secret: secretOf(spec.password, owner, context) });
  if (!remote) return here ? addressNeighbour(spec, withSecret(), context) : [];
  const reverse = spec.reversePeering !== "Manual" && remote(self.labels);
  const others = [...nodes.values()].filter((node) => {
    const there = named === undefined ? (chosen?.(node.labels) ?? true) : node.name === named;
    return node.name !== self.name && ((here && remote(node.labels)) || (reverse && there));
  });
  return others.length === 0 ? [] : others.flatMap((node) => nodeNeighbours(node, withSecret(), context, spec));
}

function choice(text: unknown, owner: string, field: string, remark: (text: string) => void) {
  if (text === undefined || text === "") return undefined;
  try {
    if (typeof text === "string") return compileCalicoSelector(text);
    remark(`${owner}: ${field} ${JSON.stringify(text)} is no text; the peer is left out`);
  } catch (error) {
    remark(`${owner}: ${field}: ${messageOf(error)}; the peer is left out`);
  }
  return "wrong" as const;
}

function addressNeighbour(spec: BgpObject["spec"], settings: Settings, context: NeighbourContext): Neighbour[] {
  const { self, nodes, remark } = context;
  const place = placeOf(textOf(spec.peerIP));
  if (!place) {
    remark(`${settings.owner}: peerIP ${JSON.stringify(spec.peerIP)} is no address; the peer is left out`);
    return [];
  }
  const family = familyOf(place.address);
  if (place.address === self.addresses[family]) return [];
  const node = [...nodes.values()].find(({ addresses }) => addresses[family] === place.address);
  const as = asNumberOf(spec.asNumber) ?? (spec.asNumber === undefined ? node?.as : undefined);
  if (as === undefined) {
    remark(`${settings.owner}: asNumber ${JSON.stringify(spec.asNumber)} is no AS number; the peer is left out`);
    return [];
  }
  const port = place.port ?? (node ? context.port : 179);
  return [
    neighbour(
      { name: `${settings.owner.replace("BGPPeer ", "")}/${place.address}`, address: place.address, as, port, node },
      spec,
      settings,
      context,
    ),
  ];
}

function nodeNeighbours(node: BgpNode, settings: Settings, context: NeighbourContext, spec: BgpObject["spec"]): Neighbour[] {
  return context.families.flatMap((family) => {
    const address = node.addresses[family];
    if (address === undefined || context.self.addresses[family] === undefined) return [];
    const name = `${node.name}${family === 6 ? "/6" : ""}`;
    return neighbour({ name, address, as: node.as, port: context.port, node }, spec, settings, context);
  });
}

interface End {
  readonly name: string;
  readonly address: string;
  readonly as: number;
  readonly port: number;
  readonly node: BgpNode | undefined;
}

function neighbour(end: End, spec: BgpObject["spec"], settings: Settings, context: NeighbourContext): Neighbour {
  const { self, remark } = context;
  const { address, node } = end;
  const family = familyOf(address);
  const localAs = asNumberOf(spec.localASNumber);
  const external = end.as !== (localAs ?? self.as);
  const client = !external && self.clusterId !== undefined && node?.clusterId !== self.clusterId;
  const names = listOf(spec.filters).filter((name) => typeof name === "string");
  const filtered = (direction: "import" | "export") => {
    // What other nodes announce is theirs to tell: who hears it of this node would send their traffic here.
    const last =
      direction === "export" && external && self.clusterId === undefined
        ? ([{ match: { source: "neighbours" }, action: "reject" }] as const)
        : [];
    const { filter, remarks } = planFilter(names, context.filters, direction, { external, last });
    for (const each of remarks) remark(each);
    return filter;
  };
  const [importFilter, exportFilter] = [filtered("import"), filtered("export")];
  const password = settings.secret && context.secret(settings.secret);
  const keepalive = secondsOf(spec.keepaliveTime);
  const ttl = numberOf(spec.ttlSecurity, 1, 254);
  const ownAs = numberOf(spec.numAllowedLocalASNumbers, 1, 1000);
  const source = spec.sourceAddress === "None" ? undefined : self.addresses[family];
  const peer: PeerConfig = {
    name: end.name,
    address,
    as: end.as,
    port: end.port,
    families: [family],
    holdSeconds: keepalive === undefined ? HOLD_SECONDS : Math.min(65535, Math.max(3, Math.round(keepalive * 3))),
    connectRetrySeconds: CONNECT_RETRY_SECONDS,
    gracefulRestart: { restartSeconds: settings.restartSeconds, notification: false },
    nextHop: nextHopOf(spec),
    ...(localAs === undefined ? {} : { localAs }),
    ...(source === undefined ? {} : { localAddress: source }),
    ...(password === undefined ? {} : { password }),
    ...(ttl === undefined ? {} : { ttlSecurityHops: ttl }),
    ...(ownAs === undefined ? {} : { allowOwnAs: ownAs }),
    ...(external ? {} : { addPath: { receive: true, send: true } }),
    ...(client ? { reflectorClient: true } : {}),
    ...(importFilter ? { importFilter } : {}),
    ...(exportFilter ? { exportFilter } : {}),
  };
  const gateway = textOf(spec.reachableBy);
  const reachable = gateway === undefined ? undefined : tryParseAddress(gateway);
  if (gateway !== undefined && reachable?.family !== family)
    remark(`${settings.owner}: reachableBy "${gateway}" is no IPv${family} address, and ignored`);
  return {
    kind: settings.kind,
    owner: settings.owner,
    node: node?.name,
    peer,
    bfd: bfdOf(settings, remark),
    reachableBy: reachable?.family === family ? formatAddress(reachable) : undefined,
    withheld:
      settings.secret && password === undefined
        ? `its password is not known: there is no Secret ${settings.secret.name} with key ${settings.secret.key}`
        : undefined,
  };
}

function nextHopOf(spec: BgpObject["spec"]): "default" | "self" | "keep" {
  if (spec.nextHopMode === "Self") return "self";
  return spec.nextHopMode === "Keep" || spec.keepOriginalNextHop === true ? "keep" : "default";
}

function bfdOf({ annotations, bfd, owner }: Settings, remark: (text: string) => void): Neighbour["bfd"] {
  const text = annotations[BFD_ANNOTATION];
  if (text === undefined || text === "") return bfd ? BFD : undefined;
  if (text === "false") return undefined;
  if (text === "true") return BFD;
  const [, interval, multiplier] = /^(\d{2,5})ms ?x ?(\d{1,2})$/.exec(text) ?? [];
  if (interval !== undefined && Number(interval) >= 10 && Number(multiplier) >= 1)
    return { intervalMs: Number(interval), multiplier: Number(multiplier) };
  remark(`${owner}: annotation ${BFD_ANNOTATION} "${text}" is not true, false or like 300ms x3; taken as true`);
  return BFD;
}

function restartOf(value: unknown, owner: string, { remark }: NeighbourContext): number {
  if (value === undefined) return RESTART_SECONDS;
  const seconds = secondsOf(value);
  if (seconds === undefined || seconds > 4095) {
    remark(`${owner}: restart time ${JSON.stringify(value)} is not like 120s (at most 4095s); ${RESTART_SECONDS}s is taken`);
    return RESTART_SECONDS;
  }
  return Math.round(seconds);
}

function secretOf(value: unknown, owner: string, { remark }: NeighbourContext): SecretKey | undefined {
  if (value === undefined || value === null) return undefined;
  const { name, key } = fieldsOf(fieldsOf(value).secretKeyRef);
  if (typeof name === "string" && typeof key === "string" && name !== "" && key !== "") return { name, key };
  remark(`${owner}: its password names no Secret and key (secretKeyRef)`);
  return { name: "", key: "" };
}

/** "10.0.0.1", "10.0.0.1:1790", "fd00::1" or "[fd00::1]:179". */
function placeOf(text: string | undefined): { readonly address: string; readonly port: number | undefined } | undefined {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|(\d+\.\d+\.\d+\.\d+))(?::(\d{1,5}))?$/.exec(text ?? "") ?? [];
  const address = tryParseAddress(bracketed ?? plain ?? text ?? "");
  const number = port === undefined ? undefined : numberOf(Number(port), 1, 65535);
  if (!address || (port !== undefined && number === undefined)) return undefined;
  return { address: formatAddress(address), port: number };
}

/** The route to a neighbour that is reached by a router. */
export function reachingRoute({
  peer,
  reachableBy,
}: Neighbour): { readonly prefix: string; readonly nextHops: readonly string[]; readonly peer: string }[] {
  if (reachableBy === undefined) return [];
  return [{ prefix: `${peer.address}/${addressBits(familyOf(peer.address))}`, nextHops: [reachableBy], peer: peer.name }];
}
