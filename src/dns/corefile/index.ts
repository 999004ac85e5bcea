// The Corefile: its text, its blocks, and how a plugin reads its arguments.
export {
  argument,
  choice,
  closest,
  duration,
  expectArgs,
  hostPort,
  hostPortText,
  integer,
  onlyOnce,
  pattern,
  tryDuration,
  unknownOption,
} from "./arguments.ts";
export { CorefileError } from "./errors.ts";
export { type Argument, type Directive, type ParseOptions, parseCorefile, type ServerBlock } from "./parse.ts";
export { parseKey, zonesOf, zonesOrBlock } from "./zone.ts";
