// The CNI protocol (specification 1.1.0): a call read from environment and configuration, results and errors written. Pure.
import { FairleadError, tryParseAddress, tryParsePrefix } from "../base/index.ts";

export const SUPPORTED_VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;
export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];
type CniCommand = "ADD" | "DEL" | "CHECK" | "GC" | "STATUS" | "VERSION";

/** Error codes of the specification; from 100 on they are the plugin's own. */
export const CNI_CODE = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  tryAgain: 11,
  unavailable: 50,
  limited: 51,
  /** CHECK found that the pod is not wired as it should be. */
  damaged: 100,
  rangeFull: 101,
} as const;

/** An error as the specification has it. */
export class CniError extends FairleadError {
  readonly number: number;
  readonly details: string;

  constructor(number: number, message: string, details = "", cause?: unknown) {
    super("cni", message, { cause });
    this.number = number;
    this.details = details;
  }
}

export interface CniRequest {
  readonly command: CniCommand;
  readonly version: CniVersion;
  /** The network's name. */
  readonly network: string;
  readonly containerId: string;
  readonly netns: string;
  readonly ifname: string;
  /** CNI_ARGS as pairs. */
  readonly args: Readonly<Record<string, string>>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly prevResult?: CniResult;
  /** GC: what the runtime says is still valid. */
  readonly validAttachments: readonly { readonly containerID: string; readonly ifname: string }[];
}

/** A result in the words of 1.1.0; older versions are written from it. */
export interface CniResult {
  readonly interfaces?: readonly { readonly name: string; readonly mac?: string; readonly mtu?: number; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string; readonly gateway?: string; readonly interface?: number }[];
  readonly routes?: readonly { readonly dst: string; readonly gw?: string; readonly [field: string]: unknown }[];
  readonly dns?: object;
}

export interface CniCall {
  readonly environment: Readonly<Record<string, string>>;
  readonly stdin: string;
}

const COMMANDS: readonly string[] = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];
/** Variables that a command needs (specification, section 2, "Parameters"). */
const NEEDED: Readonly<Record<CniCommand, readonly string[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  GC: [],
  STATUS: [],
  VERSION: [],
};

/** The version that an answer to this call is written in, as far as it can be known. */
export function versionOf(stdin: string): string {
  try {
    const { cniVersion } = JSON.parse(stdin) as { cniVersion?: unknown };
    return typeof cniVersion === "string" ? cniVersion : "1.1.0";
  } catch {
    return "1.1.0";
  }
}

/** Reads a call. @throws CniError with the specification's code */
export function parseCall({ environment, stdin }: CniCall): CniRequest {
  const command = environment.CNI_COMMAND ?? "";
  if (!COMMANDS.includes(command)) {
    throw new CniError(
      CNI_CODE.invalidEnvironment,
      command === "" ? "CNI_COMMAND is missing" : `CNI_COMMAND "${command}" is not known`,
      `it is one of ${COMMANDS.join(", ")}`,
    );
  }
  const missing = NEEDED[command as CniCommand].filter((name) => !environment[name]);
  if (missing.length > 0)
    throw new CniError(CNI_CODE.invalidEnvironment, `required environment variables are missing: ${missing.join(", ")}`, `for ${command}`);
  const containerId = environment.CNI_CONTAINERID ?? "";
  if (containerId !== "" && !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(containerId)) {
    throw new CniError(
      CNI_CODE.invalidEnvironment,
      `CNI_CONTAINERID "${containerId}" is not valid`,
      "letters, digits, underscore, dot and dash, beginning with a letter or digit",
    );
  }
  const ifname = environment.CNI_IFNAME ?? "";
  if (ifname !== "") checkInterfaceName(ifname);
  const config = parseConfig(stdin);
  const version = checkVersion(config.cniVersion, command as CniCommand);
  const prevResult = config.prevResult === undefined ? undefined : parseResult(config.prevResult);
  if (command === "CHECK" && !prevResult)
    throw new CniError(CNI_CODE.invalidConfig, "CHECK needs prevResult", "the runtime hands over the result of ADD");
  return {
    command: command as CniCommand,
    version,
    network: networkName(config.name, command as CniCommand),
    containerId,
    netns: environment.CNI_NETNS ?? "",
    ifname,
    args: parseArgs(environment.CNI_ARGS ?? ""),
    config,
    ...(prevResult ? { prevResult } : {}),
    validAttachments: command === "GC" ? parseValid(config["cni.dev/valid-attachments"] ?? config["cni.dev/attachments"]) : [],
  };
}

function checkInterfaceName(name: string): void {
  const bad = (why: string): never => {
    throw new CniError(CNI_CODE.invalidEnvironment, `CNI_IFNAME "${name}" is not valid`, why);
  };
  if (Buffer.byteLength(name) > 15) bad("an interface name has at most 15 bytes");
  if (name === "." || name === "..") bad("it can't be . or ..");
  if (/[/:\s]/.test(name)) bad("it can't contain a slash, a colon or a blank");
}

function parseConfig(stdin: string): Record<string, unknown> {
  let config: unknown;
  try {
    config = JSON.parse(stdin);
  } catch (cause) {
    throw new CniError(
      CNI_CODE.decodingFailure,
      "the network configuration is not JSON",
      cause instanceof Error ? cause.message : "",
      cause,
    );
  }
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new CniError(CNI_CODE.decodingFailure, "the network configuration is not an object");
  return config as Record<string, unknown>;
}

function checkVersion(version: unknown, command: CniCommand): CniVersion {
  const supported = `supported are ${SUPPORTED_VERSIONS.join(", ")}`;
  if (version !== undefined && typeof version !== "string") throw new CniError(CNI_CODE.invalidConfig, "cniVersion is not text", supported);
  const known = SUPPORTED_VERSIONS.find((candidate) => candidate === version);
  if (!known)
    throw new CniError(
      CNI_CODE.incompatibleVersion,
      version === undefined ? "cniVersion is missing" : `cniVersion "${version}" is not supported`,
      supported,
    );
  const since = command === "CHECK" ? "0.4.0" : command === "GC" || command === "STATUS" ? "1.1.0" : "0.3.1";
  if (SUPPORTED_VERSIONS.indexOf(known) < SUPPORTED_VERSIONS.indexOf(since)) {
    throw new CniError(CNI_CODE.incompatibleVersion, `${command} is not part of CNI ${known}`, `it came with ${since}`);
  }
  return known;
}

function networkName(name: unknown, command: CniCommand): string {
  if (command === "VERSION") return "";
  if (typeof name !== "string" || !/^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(name)) {
    throw new CniError(
      CNI_CODE.invalidConfig,
      name === undefined ? "the network has no name" : `"${String(name)}" can't name a network`,
      "letters, digits, underscore, dot and dash",
    );
  }
  return name;
}

/** CNI_ARGS: "KEY=VALUE;KEY=VALUE". */
function parseArgs(text: string): Record<string, string> {
  const args: Record<string, string> = {};
  for (const part of text.split(";").filter((each) => each !== "")) {
    const equals = part.indexOf("=");
    if (equals <= 0) throw new CniError(CNI_CODE.invalidEnvironment, `CNI_ARGS: "${part}" is no KEY=VALUE pair`);
    args[part.slice(0, equals)] = part.slice(equals + 1);
  }
  return args;
}

/** A previous result of any supported version. */
function parseResult(value: unknown): CniResult {
  const bad = (why: string): never => {
    throw new CniError(CNI_CODE.decodingFailure, `prevResult: ${why}`);
  };
  if (typeof value !== "object" || value === null || Array.isArray(value)) return bad("not an object");
  const { ips = [], interfaces = [], routes = [] } = value as Record<string, unknown>;
  if (!Array.isArray(ips) || !Array.isArray(interfaces) || !Array.isArray(routes)) return bad("ips, interfaces and routes are lists");
  for (const ip of ips as { address?: unknown; gateway?: unknown }[]) {
    if (typeof ip?.address !== "string" || !tryParsePrefix(ip.address))
      bad(`ips: "${String(ip?.address)}" is no address with a prefix length`);
    if (ip.gateway !== undefined && (typeof ip.gateway !== "string" || !tryParseAddress(ip.gateway)))
      bad(`ips: gateway "${String(ip.gateway)}" is no address`);
  }
  for (const link of interfaces as { name?: unknown }[]) if (typeof link?.name !== "string") bad("interfaces: one has no name");
  return value as CniResult;
}

function parseValid(value: unknown): { containerID: string; ifname: string }[] {
  if (value === undefined || value === null)
    throw new CniError(CNI_CODE.invalidConfig, "GC needs cni.dev/valid-attachments", "without it everything would be released");
  if (!Array.isArray(value)) throw new CniError(CNI_CODE.invalidConfig, "cni.dev/valid-attachments is not a list");
  return value.map((each: { containerID?: unknown; ifname?: unknown }) => {
    if (typeof each?.containerID !== "string" || typeof each.ifname !== "string")
      throw new CniError(CNI_CODE.invalidConfig, "cni.dev/valid-attachments: an entry needs containerID and ifname");
    return { containerID: each.containerID, ifname: each.ifname };
  });
}

/** A result in the words of a version: before 1.0.0 each address says its IP version; before 1.1.0 an interface has no MTU. */
export function encodeResult(version: CniVersion, result: CniResult): object {
  const old = version.startsWith("0.");
  return {
    cniVersion: version,
    ...(result.interfaces
      ? { interfaces: result.interfaces.map(({ mtu, ...link }) => (version === "1.1.0" && mtu !== undefined ? { ...link, mtu } : link)) }
      : {}),
    ...(result.ips
      ? { ips: result.ips.map((ip) => (old ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : withoutVersion(ip))) }
      : {}),
    ...(result.routes
      ? { routes: version === "1.1.0" ? result.routes : result.routes.map(({ dst, gw }) => (gw === undefined ? { dst } : { dst, gw })) }
      : {}),
    dns: result.dns ?? {},
  };
}

function withoutVersion(ip: object): object {
  const { version: _version, ...rest } = ip as { version?: unknown };
  return rest;
}

/** An error as JSON for standard output. */
export function encodeError(version: string, error: unknown): object {
  const known =
    error instanceof CniError ? error : new CniError(CNI_CODE.ioFailure, error instanceof Error ? error.message : String(error));
  return { cniVersion: version, code: known.number, msg: known.message, ...(known.details ? { details: known.details } : {}) };
}
