// One entry of ingress, egress, ingressDeny or egressDeny of a Cilium policy, as rules of the model.
import type { Owner } from "../../kernel/index.ts";
import { Place, type Remarks } from "../calico/place.ts";
import { ANYONE, type Direction, type Rule, type Side } from "../rules.ts";
import { type PeerSide, peerFields, readPeers } from "./peers.ts";
import { type PortRule, readPorts } from "./ports.ts";
import { readPeer } from "./selector.ts";

export interface EntryContext {
  readonly direction: Direction;
  readonly action: "allow" | "deny";
  readonly namespace: string | undefined;
  readonly owner: Owner;
  readonly remarks: Remarks;
}

export interface Entry {
  readonly rules: readonly Rule[];
  /** What its fromRequires or toRequires denies, whatever allows it. */
  readonly denials: readonly Rule[];
}

/** Nobody is named and nothing is said of ports: such an entry lets nothing through (it only isolates). */
const NOTHING: readonly Rule[] = [];

/** Reads one entry. What is not understood allows nothing; of a denial all that is understood is denied. Never throws. */
export function readEntry(value: unknown, path: string, context: EntryContext): Entry {
  const { direction, action, namespace, owner } = context;
  let wrong = false;
  const remarks: Remarks = {
    wrong: (at, says) => {
      wrong = true;
      context.remarks.wrong(at, says);
    },
    note: context.remarks.note,
  };
  const place = new Place(value, path, remarks);
  const requires = direction === "ingress" ? "fromRequires" : "toRequires";
  place.object([...peerFields(direction), requires, "toPorts", "icmps", ...(action === "allow" ? ["authentication"] : [])]);
  const peers = readPeers(place, direction, namespace);
  const ports = readPorts(place);
  checkAuthentication(place.at("authentication"));
  const denials = readRequired(place.at(requires), context);
  if (wrong && action === "allow") return { rules: NOTHING, denials };
  if (peers === "absent" && ports === undefined) return { rules: NOTHING, denials };
  const sides: readonly PeerSide[] = peers === "absent" ? [{ side: ANYONE }] : peers;
  const traffic: readonly PortRule[] = ports ?? [{ traffic: "any" }];
  const rules = sides.flatMap(({ side, family }) =>
    traffic.map(
      (port): Rule => ({
        action,
        ...toward(direction, side),
        traffic: port.traffic,
        ...(family === undefined ? {} : { family }),
        ...(port.application ? { application: port.application } : {}),
        owner,
      }),
    ),
  );
  return { rules, denials };
}

function toward(direction: Direction, side: Side): Pick<Rule, "source" | "destination"> {
  return direction === "ingress" ? { source: side, destination: ANYONE } : { source: ANYONE, destination: side };
}

function checkAuthentication(place: Place): void {
  if (!place.given) return;
  const { mode } = place.object(["mode"]);
  if (mode !== "disabled")
    place.at("mode").wrong(`authentication ${JSON.stringify(mode)} is not done by this data path, so the rule allows nothing`);
}

/** Pods that do not meet what is required, which no other rule can let in. */
function readRequired(place: Place, { direction, namespace, owner }: EntryContext): Rule[] {
  return place.items().flatMap((item): Rule[] => {
    const peer = readPeer(item, namespace);
    const side: Side = {
      within: [[{ kind: "ends", labels: { test: { op: "all", of: [] } } }]],
      except: peer === undefined || peer === "nobody" ? [] : [peer],
    };
    return [{ action: "deny", ...toward(direction, side), traffic: "any", owner }];
  });
}
