// What an expression may ask of a query.
import { prefixContains, tryParseAddress, tryParsePrefix } from "../../../base/index.ts";
import { className, typeName } from "../../message.ts";
import type { Query } from "../../query.ts";
import { ExpressionError, type Functions, type Value } from "./expression.ts";

/** The functions over one query; without one only their names mean something. */
export function queryFunctions(query?: Query): Functions {
  const { origin } = query ?? {};
  return {
    bufsize: () => query?.edns?.udpSize ?? 512,
    class: () => className(query?.class ?? 1),
    client_ip: () => bracketed(origin?.address ?? ""),
    do: () => query?.edns?.dnssecOk ?? false,
    id: () => query?.id ?? 0,
    incidr: (address, cidr) => within(address, cidr),
    metadata: () => "",
    name: () => query?.name ?? "",
    opcode: () => 0,
    port: () => String(origin?.port ?? 0),
    proto: () => origin?.transport ?? "",
    server_port: () => /:(\d+)$/.exec(origin?.server ?? "")?.[1] ?? "",
    size: () => query?.size ?? 0,
    type: () => typeName(query?.type ?? 0),
  };
}

/** As the expressions of CoreDNS see it. */
function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

function within(address: Value | undefined, cidr: Value | undefined): boolean {
  const parsed = tryParseAddress(String(address).replace(/^\[(.*)\]$/, "$1"));
  const prefix = tryParsePrefix(String(cidr));
  if (!parsed) throw new ExpressionError(`"${address}" is no address`);
  if (!prefix) throw new ExpressionError(`"${cidr}" is no prefix`);
  return prefixContains(prefix, parsed);
}
