// One side of a Calico rule: whom `source` or `destination` means.
import type { Peer, PortMatch, Selection, Side } from "../rules.ts";
import { readCondition } from "./condition.ts";
import { blockIn, noteHostBits } from "./ends.ts";
import { fieldsOf } from "./objects.ts";
import type { Place } from "./place.ts";

export interface EntityContext {
  /** Namespace of the policy; none for a global one. */
  readonly namespace: string | undefined;
  /** Of services: the destination's have ports. */
  readonly which: "source" | "destination";
}

export interface Entity {
  readonly side: Side;
  readonly ports?: readonly PortMatch[];
  readonly notPorts?: readonly PortMatch[];
}

const FIELDS = ["nets", "notNets", "selector", "notSelector", "namespaceSelector", "ports", "notPorts", "serviceAccounts", "services"];

/** Reads one side. What can't be read is remarked at its place and constrains nothing: the rule decides what that means. */
export function readEntity(place: Place, context: EntityContext): Entity {
  const entity = place.object(FIELDS);
  const within: (readonly Peer[])[] = [];
  const except: Peer[] = [];
  const ends = readEnds(place, context);
  if (ends) within.push([ends]);
  const nets = readNets(place.at("nets"), "whole");
  if (nets) within.push(nets);
  except.push(...(readNets(place.at("notNets"), "left") ?? []));
  const notSelector = readSelector(place.at("notSelector"));
  if (notSelector) except.push({ kind: "ends", ...EVERY_KIND, labels: notSelector });
  if (entity.services !== undefined) within.push(...readService(place.at("services"), context));
  const ports = readPorts(place.at("ports"), "whole");
  const notPorts = readPorts(place.at("notPorts"), "left");
  if (entity.services !== undefined && (ports || notPorts || ends || nets))
    place.at("services").wrong("services stands alone: without ports, nets and selectors");
  return { side: { within, except }, ...(ports ? { ports } : {}), ...(notPorts ? { notPorts } : {}) };
}

/** Calico's selectors mean pods, host end points and network sets alike. */
const EVERY_KIND = { kinds: ["pod", "host", "set"], view: "calico" } as const;

/**
 * The end points that the selectors mean; undefined without any. In a policy of a namespace they are that namespace's, unless a
 * namespaceSelector says otherwise; notSelector alone is enough for that.
 */
function readEnds(place: Place, { namespace }: EntityContext): Peer | undefined {
  const labels = readSelector(place.at("selector"));
  const notSelector = readSelector(place.at("notSelector"), true);
  const namespaceText = place.at("namespaceSelector").text();
  const namespaceSelector =
    namespaceText === undefined || namespaceText === ""
      ? undefined
      : place.at("namespaceSelector").understood(readCondition(namespaceText, "namespaces", true));
  const accounts = readAccounts(place.at("serviceAccounts"));
  const given = labels !== undefined || accounts !== undefined || namespaceSelector !== undefined;
  if (!given && !(namespace !== undefined && notSelector !== undefined)) return undefined;
  const selection: Selection = {
    ...EVERY_KIND,
    ...(namespaceSelector ? { namespaceSelector } : namespace === undefined ? {} : { namespace }),
    ...accounts,
    labels: labels ?? { test: { op: "all", of: [] } },
  };
  return { kind: "ends", ...selection };
}

function readSelector(place: Place, quiet = false) {
  const text = place.text();
  if (text === undefined || text === "") return undefined;
  const read = readCondition(text, "ends");
  return quiet ? ("wrong" in read ? undefined : read) : place.understood(read);
}

function readAccounts(place: Place): Pick<Selection, "serviceAccounts" | "serviceAccountSelector"> | undefined {
  if (!place.given) return undefined;
  const { names } = place.object(["names", "selector"]);
  const text = place.at("selector").text();
  const selector = text === undefined || text === "" ? undefined : place.at("selector").understood(readCondition(text, "accounts"));
  const list = names === undefined ? [] : place.at("names").texts();
  if (list.length === 0 && !selector) return undefined;
  return { ...(list.length > 0 ? { serviceAccounts: list } : {}), ...(selector ? { serviceAccountSelector: selector } : {}) };
}

/**
 * undefined where there is no list, an empty one, or one that is wrong somewhere: no constraint. `left` keeps what can be read
 * (of exceptions). Host bits are cleared, as Calico does.
 */
function readNets(place: Place, left: "left" | "whole"): readonly Peer[] | undefined {
  const nets = place.items();
  if (nets.length === 0) return undefined;
  const blocks = nets.flatMap((net) => {
    const cidr = blockIn(net.value);
    if (cidr === undefined) {
      net.wrong(`${JSON.stringify(net.value)} is neither an address nor a prefix such as 10.0.0.0/8`);
      return [];
    }
    noteHostBits(net);
    return [{ kind: "cidr" as const, cidr, except: [] }];
  });
  return left === "whole" && blocks.length < nets.length ? undefined : blocks;
}

function readService(place: Place, { namespace, which }: EntityContext): (readonly Peer[])[] {
  const fields = place.object(["name", "namespace"]);
  const name = place.at("name").text();
  const where = place.at("namespace").text() ?? namespace;
  if (!name || !where) {
    if (fieldsOf(fields) && place.given) place.wrong("it needs the name of a Service, and in a global policy its namespace");
    return [];
  }
  return [[{ kind: "service", namespace: where, name, ports: which === "destination" }]];
}

function readPorts(place: Place, left: "left" | "whole"): readonly PortMatch[] | undefined {
  const items = place.items();
  if (items.length === 0) return undefined;
  const ports = items.flatMap((item) => readPort(item) ?? []);
  return left === "whole" && ports.length < items.length ? undefined : ports;
}

/** A number, "80", "8000:8999", or a name. */
function readPort(place: Place): PortMatch | undefined {
  const { value } = place;
  const text = typeof value === "number" ? String(value) : typeof value === "string" ? value : "";
  const [, low, , high] = /^(\d{1,5})(:(\d{1,5}))?$/.exec(text) ?? [];
  if (low !== undefined) {
    const [from, to] = [Number(low), Number(high ?? low)];
    if (from >= 1 && to <= 65_535 && from <= to) return { from, to };
    return place.wrong(
      from > to ? `${text} is upside down: the first port is greater than the last` : `${text} is not between 1 and 65535`,
    );
  }
  if (/^[a-zA-Z0-9_.-]{1,128}$/.test(text) && !/^\d/.test(text)) return { name: text };
  return place.wrong(`${JSON.stringify(value)} is neither a port, a range such as "8000:8999" nor a name`);
}
