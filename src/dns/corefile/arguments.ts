// Reads the arguments of directives: numbers, durations, addresses, choices; every refusal names the word and the remedy.
import { familyOf, tryParseAddress } from "../../base/index.ts";
import { CorefileError } from "./errors.ts";
import type { Argument, Directive } from "./parse.ts";

/** Exactly so many arguments. @throws CorefileError */
export function expectArgs(directive: Directive, least: number, most = least): readonly Argument[] {
  const { args, name, place } = directive;
  if (args.length < least) {
    const wanted = least === most ? `${least}` : `at least ${least}`;
    throw new CorefileError(place, `${name} has ${args.length} argument${args.length === 1 ? "" : "s"} and needs ${wanted}`);
  }
  if (args.length > most) {
    const extra = args[most] as Argument;
    const wanted = most === 0 ? "no arguments" : `at most ${most} argument${most === 1 ? "" : "s"}`;
    throw new CorefileError(extra.place, `"${extra.text}" is too much: ${name} takes ${wanted}`);
  }
  return args;
}

/** The argument with this number, from 0. @throws CorefileError where it is missing */
export function argument(directive: Directive, index: number): Argument {
  const found = directive.args[index];
  if (!found) throw new CorefileError(directive.place, `${directive.name} needs argument number ${index + 1}`);
  return found;
}

/** A directive that may stand once in a block. @throws CorefileError at the second */
export function onlyOnce(directives: readonly Directive[]): Directive {
  const [first, second] = directives;
  if (!first) throw new Error("a plugin is set up only where its directive stands");
  if (second)
    throw new CorefileError(
      second.place,
      `${second.name} may stand once in a server block`,
      `the other one is at line ${first.place.line}`,
    );
  return first;
}

/** @throws CorefileError unless it is a whole number in the range */
export function integer({ text, place }: Argument, least = 0, most = Number.MAX_SAFE_INTEGER): number {
  const value = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new CorefileError(place, `"${text}" is no whole number ${range}`);
  }
  return value;
}

const UNITS: Readonly<Record<string, number>> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A duration such as 5s, 1m30s or 100ms in milliseconds; undefined if it is none. */
export function tryDuration(text: string): number | undefined {
  if (text === "0") return 0;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let milliseconds = 0;
  for (const [, number, , unit] of text.matchAll(/(\d+(\.\d+)?)(ns|us|µs|ms|s|m|h)/g))
    milliseconds += Number(number) * (UNITS[unit ?? ""] ?? 0);
  return milliseconds;
}

/** A duration in milliseconds. @throws CorefileError */
export function duration({ text, place }: Argument, least = 0): number {
  const value = tryDuration(text);
  if (value === undefined) throw new CorefileError(place, `"${text}" is no duration`, "write it like 5s, 1m30s or 100ms");
  if (value < least) throw new CorefileError(place, `"${text}" is shorter than ${least} ms`);
  return value;
}

/** One of these words. @throws CorefileError */
export function choice<T extends string>({ text, place }: Argument, choices: readonly T[]): T {
  const found = choices.find((each) => each === text);
  if (found === undefined) throw new CorefileError(place, `"${text}" is not one of ${choices.join(", ")}`);
  return found;
}

/** A regular expression in Go's syntax as far as it is JavaScript's too. @throws CorefileError */
export function pattern({ text, place }: Argument, flags = ""): RegExp {
  try {
    const inline = /^\(\?([is]+)\)/.exec(text);
    return new RegExp(text.slice(inline?.[0].length ?? 0).replace(/\(\?P</g, "(?<"), `${flags}${inline?.[1] ?? ""}`);
  } catch (error) {
    throw new CorefileError(place, `"${text}" is no regular expression: ${(error as Error).message}`);
  }
}

interface HostPort {
  /** "" for every address. */
  readonly address: string;
  readonly port: number;
}

/** [ADDRESS]:PORT, or an address alone where there is a default port. @throws CorefileError */
export function hostPort({ text, place }: Argument, defaultPort?: number): HostPort {
  const [, bracketed, plain, portText] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const alone = defaultPort !== undefined && portText === undefined;
  const host = alone ? text.replace(/^\[(.*)\]$/, "$1") : (bracketed ?? plain ?? "");
  const port = alone ? defaultPort : Number(portText ?? Number.NaN);
  const address = host === "localhost" ? "127.0.0.1" : host;
  if (!(port >= 0 && port <= 65_535) || (address !== "" && !tryParseAddress(address)))
    throw new CorefileError(place, `"${text}" is no address and port`, "write it like :8080, 127.0.0.1:9153 or [::1]:53");
  return { address, port };
}

/** An address and port as they are written in one. */
export function hostPortText({ address, port }: HostPort): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The error for an option that a plugin does not know: names those that it does. */
export function unknownOption(plugin: string, option: Directive, known: readonly string[]): CorefileError {
  const near = closest(option.name, known);
  const remedy = `${near === undefined ? "" : `did you mean ${near}? `}${plugin} knows ${known.length > 0 ? known.join(", ") : "no options"}`;
  return new CorefileError(option.place, `${plugin} has no option "${option.name}"`, remedy);
}

/** The word that differs least, by not half of its letters. */
export function closest(word: string, known: readonly string[]): string | undefined {
  let best: { readonly text: string; readonly distance: number } | undefined;
  for (const text of known) {
    const distance = editDistance(word, text);
    if (distance <= Math.max(1, Math.floor(text.length / 2.5)) && (best === undefined || distance < best.distance))
      best = { text, distance };
  }
  return best?.text;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length] ?? 0;
}
