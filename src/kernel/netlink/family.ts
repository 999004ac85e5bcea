// Numbers that several rtnetlink messages share: address families and scopes.
import type { Family } from "../../base/index.ts";

export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

export function familyNumber(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** Undefined for families other than the two of the Internet. */
export function familyFromNumber(number: number): Family | undefined {
  return number === AF_INET ? 4 : number === AF_INET6 ? 6 : undefined;
}

/** rt_scope_t. */
export const SCOPE = { global: 0, link: 253, host: 254, nowhere: 255 } as const;

/** Scopes between (site) count as global. */
export function scopeName(number: number): "global" | "link" | "host" {
  return number === SCOPE.link ? "link" : number >= SCOPE.host ? "host" : "global";
}
