// /etc/resolv.conf as data: read as glibc and musl read it, and written as a container runtime writes it.
import { tryParseAddress } from "../../base/index.ts";

/** A resolver's configuration, in the order of the file. */
export interface ResolvConf {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  /** Name and value ("ndots", "5"); a flag has no value. */
  readonly options: readonly (readonly [string, string | undefined])[];
}

/** Which C library's resolver. */
export type ResolverKind = "glibc" | "musl";

/** What a resolver makes of the options, within its bounds. */
export interface ResolverSettings {
  readonly ndots: number;
  /** Seconds. */
  readonly timeout: number;
  readonly attempts: number;
  readonly flags: ReadonlySet<string>;
}

const MAX_NAMESERVERS = 3;
/** musl reads lines into 256 bytes, and skips a longer one whole: a long search list counts as none. */
const MUSL_LINE = 254;

/** Reads the text of a resolv.conf; what is no line of it is skipped, as the resolvers do. Without a name server it is 127.0.0.1. */
export function parseResolvConf(text: string, kind: ResolverKind = "glibc"): ResolvConf {
  const nameservers: string[] = [];
  let searches: readonly string[] = [];
  const options: [string, string | undefined][] = [];
  for (const line of text.split("\n")) {
    if (/^[;#]/.test(line) || (kind === "musl" && Buffer.byteLength(line) > MUSL_LINE)) continue;
    const [keyword = "", ...words] = line.split(/\s+/).filter((word) => word !== "");
    // The keyword stands at the line's start.
    if (!line.startsWith(keyword)) continue;
    if (keyword === "nameserver" && words[0] !== undefined && isServer(words[0])) nameservers.push(words[0]);
    else if (keyword === "search" || (keyword === "domain" && kind === "musl")) searches = words;
    else if (keyword === "domain") searches = words.slice(0, 1);
    else if (keyword === "options") for (const word of words) options.push(splitOption(word));
  }
  return { nameservers: nameservers.length > 0 ? nameservers.slice(0, MAX_NAMESERVERS) : ["127.0.0.1"], searches, options };
}

/** The text of a resolv.conf. */
export function formatResolvConf({ nameservers, searches, options }: ResolvConf): string {
  const lines = [
    ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
    ...nameservers.map((server) => `nameserver ${server}`),
    ...(options.length > 0
      ? [`options ${options.map(([name, value]) => (value === undefined ? name : `${name}:${value}`)).join(" ")}`]
      : []),
  ];
  return `${lines.join("\n")}\n`;
}

/** The options as a resolver takes them: the last of a name counts, numbers are cut to its bounds; musl knows no flags. */
export function settingsOf(conf: ResolvConf, kind: ResolverKind): ResolverSettings {
  const most = kind === "glibc" ? { ndots: 15, timeout: 30, attempts: 5 } : { ndots: 15, timeout: 60, attempts: 10 };
  const number = (name: keyof typeof most, fallback: number) => {
    const text = conf.options.findLast(([option, value]) => option === name && /^\d+/.test(value ?? ""))?.[1];
    return text === undefined ? fallback : Math.min(most[name], Number.parseInt(text, 10));
  };
  return {
    ndots: number("ndots", 1),
    // Zero seconds would be no wait at all: both take at least one, and one attempt.
    timeout: Math.max(1, number("timeout", 5)),
    attempts: Math.max(1, number("attempts", 2)),
    flags: new Set(kind === "glibc" ? conf.options.filter(([, value]) => value === undefined).map(([name]) => name) : []),
  };
}

function splitOption(word: string): [string, string | undefined] {
  const colon = word.indexOf(":");
  return colon < 0 ? [word, undefined] : [word.slice(0, colon), word.slice(colon + 1)];
}

function isServer(text: string): boolean {
  return tryParseAddress(text.replace(/%.*/, "")) !== undefined;
}
