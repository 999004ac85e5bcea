// The Corefile: its text, its blocks, and how a plugin reads its arguments.
export {
  argument,
  choice,
  closest,
  duration,
  expectArgs,
  type HostPort,
  hostPort,
  hostPortText,
  integer,
  onlyOnce,
  pattern,
  tryDuration,
  unknownOption,
} from "./arguments.ts";
export { CorefileError, type Place } from "./errors.ts";
export { type Argument, type Directive, type ParseOptions, parseCorefile, type ServerBlock } from "./parse.ts";
export { type Key, parseKey, zonesOf, zonesOrBlock } from "./zone.ts";
