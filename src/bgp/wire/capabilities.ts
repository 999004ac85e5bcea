// Capabilities in OPEN (RFC 5492): what a speaker can do beyond RFC 4271.
import type { Family } from "../../base/index.ts";
import { ByteWriter, copyBytes } from "./byte-writer.ts";

interface RestartFamily {
  readonly family: Family;
  /** Forwarding went on during the restart. */
  readonly preserved: boolean;
}

interface LongLivedFamily extends RestartFamily {
  /** Seconds for which routes are kept, 24 bits. */
  readonly staleSeconds: number;
}

type AddPathMode = "receive" | "send" | "both";

export type Capability =
  | { readonly type: "multiprotocol"; readonly family: Family }
  | { readonly type: "route-refresh" }
  | { readonly type: "extended-next-hop"; readonly family: Family; readonly nextHop: Family }
  | { readonly type: "extended-message" }
  | {
      readonly type: "graceful-restart";
      /** The sender has just restarted. */
      readonly restarting: boolean;
      /** RFC 8538: routes are kept over NOTIFICATIONs too. */
      readonly notification: boolean;
      /** 0–4095. */
      readonly restartSeconds: number;
      readonly families: readonly RestartFamily[];
    }
  | { readonly type: "four-byte-as"; readonly as: number }
  | { readonly type: "add-paths"; readonly families: readonly { readonly family: Family; readonly mode: AddPathMode }[] }
  | { readonly type: "enhanced-refresh" }
  | { readonly type: "long-lived-restart"; readonly families: readonly LongLivedFamily[] }
  | { readonly type: "host-name"; readonly host: string; readonly domain: string }
  /** Not known, or of a family that is not ours, or malformed: kept as it is. */
  | { readonly type: "other"; readonly code: number; readonly value: Uint8Array };

const MODES: readonly (AddPathMode | undefined)[] = [undefined, "receive", "send", "both"];
const SAFI_UNICAST = 1;
const familyAt = (bytes: Uint8Array, at: number): Family | undefined =>
  bytes[at] === 0 && (bytes[at + 1] === 1 || bytes[at + 1] === 2) ? (bytes[at + 1] === 1 ? 4 : 6) : undefined;

/** Reads one capability's value. Total: what is malformed is "other" and so means nothing (RFC 5492 §3). */
export function readCapability(code: number, value: Uint8Array): Capability {
  return READERS[code]?.(value) ?? { type: "other", code, value: copyBytes(value, 0) };
}

const READERS: Readonly<Record<number, (value: Uint8Array) => Capability | undefined>> = {
  1: (value) => {
    const family = familyAt(value, 0);
    return value.length === 4 && family && value[3] === SAFI_UNICAST ? { type: "multiprotocol", family } : undefined;
  },
  2: (value) => (value.length === 0 ? { type: "route-refresh" } : undefined),
  5: (value) => {
    // Of its list only IPv4 unicast over IPv6 means something to us.
    for (let at = 0; at + 6 <= value.length; at += 6) {
      const family = familyAt(value, at);
      const nextHop = familyAt(value, at + 4);
      if (family === 4 && value[at + 3] === SAFI_UNICAST && nextHop === 6) return { type: "extended-next-hop", family, nextHop };
    }
    return undefined;
  },
  6: (value) => (value.length === 0 ? { type: "extended-message" } : undefined),
  64: (value) => {
    if (value.length < 2 || (value.length - 2) % 4 !== 0) return undefined;
    const flags = (value[0] ?? 0) >> 4;
    const families: RestartFamily[] = [];
    for (let at = 2; at < value.length; at += 4) {
      const family = familyAt(value, at);
      if (family && value[at + 2] === SAFI_UNICAST) families.push({ family, preserved: ((value[at + 3] ?? 0) & 0x80) !== 0 });
    }
    const restartSeconds = (((value[0] ?? 0) & 0x0f) << 8) | (value[1] ?? 0);
    return { type: "graceful-restart", restarting: (flags & 8) !== 0, notification: (flags & 4) !== 0, restartSeconds, families };
  },
  65: (value) => {
    if (value.length !== 4) return undefined;
    return { type: "four-byte-as", as: Buffer.from(value).readUInt32BE(0) };
  },
  69: (value) => {
    if (value.length % 4 !== 0) return undefined;
    const families: { family: Family; mode: AddPathMode }[] = [];
    for (let at = 0; at < value.length; at += 4) {
      const family = familyAt(value, at);
      const mode = MODES[value[at + 3] ?? 0];
      if (family && value[at + 2] === SAFI_UNICAST && mode) families.push({ family, mode });
    }
    return { type: "add-paths", families };
  },
  70: (value) => (value.length === 0 ? { type: "enhanced-refresh" } : undefined),
  71: (value) => {
    if (value.length % 7 !== 0) return undefined;
    const families: LongLivedFamily[] = [];
    for (let at = 0; at < value.length; at += 7) {
      const family = familyAt(value, at);
      if (!family || value[at + 2] !== SAFI_UNICAST) continue;
      const staleSeconds = ((value[at + 4] ?? 0) << 16) | ((value[at + 5] ?? 0) << 8) | (value[at + 6] ?? 0);
      families.push({ family, preserved: ((value[at + 3] ?? 0) & 0x80) !== 0, staleSeconds });
    }
    return { type: "long-lived-restart", families };
  },
  73: (value) => {
    const hostLength = value[0] ?? 0;
    const domainLength = value[1 + hostLength] ?? 0;
    if (value.length !== 2 + hostLength + domainLength) return undefined;
    const text = (from: number, length: number) => new TextDecoder().decode(value.subarray(from, from + length));
    return { type: "host-name", host: text(1, hostLength), domain: text(2 + hostLength, domainLength) };
  },
};

/** Writes code, length, value. */
export function writeCapability(writer: ByteWriter, capability: Capability): void {
  const value = new ByteWriter(32);
  const code = writeValue(value, capability);
  writer.u8(code);
  writer.u8(value.length);
  writer.raw(value.copy());
}

function writeFamily(writer: ByteWriter, family: Family): void {
  writer.u16(family === 4 ? 1 : 2);
  writer.u8(SAFI_UNICAST);
}

function writeValue(value: ByteWriter, capability: Capability): number {
  switch (capability.type) {
    case "multiprotocol":
      value.u16(capability.family === 4 ? 1 : 2);
      value.u8(0);
      value.u8(SAFI_UNICAST);
      return 1;
    case "route-refresh":
      return 2;
    case "extended-next-hop":
      value.u16(capability.family === 4 ? 1 : 2);
      value.u16(SAFI_UNICAST);
      value.u16(capability.nextHop === 4 ? 1 : 2);
      return 5;
    case "extended-message":
      return 6;
    case "graceful-restart":
      value.u16((capability.restarting ? 0x8000 : 0) | (capability.notification ? 0x4000 : 0) | (capability.restartSeconds & 0xfff));
      for (const { family, preserved } of capability.families) {
        writeFamily(value, family);
        value.u8(preserved ? 0x80 : 0);
      }
      return 64;
    case "four-byte-as":
      value.u32(capability.as);
      return 65;
    case "add-paths":
      for (const { family, mode } of capability.families) {
        writeFamily(value, family);
        value.u8(MODES.indexOf(mode));
      }
      return 69;
    case "enhanced-refresh":
      return 70;
    case "long-lived-restart":
      for (const { family, preserved, staleSeconds } of capability.families) {
        writeFamily(value, family);
        value.u8(preserved ? 0x80 : 0);
        value.u8(staleSeconds >>> 16);
        value.u16(staleSeconds & 0xffff);
      }
      return 71;
    case "host-name":
      for (const text of [capability.host, capability.domain]) {
        const bytes = new TextEncoder().encode(text).subarray(0, 64);
        value.u8(bytes.length);
        value.raw(bytes);
      }
      return 73;
    case "other":
      value.raw(capability.value);
      return capability.code;
  }
}
