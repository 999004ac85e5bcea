// How an agent is told of relays.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { FairleadError, messageOf } from "../base/index.ts";
import type { ClusterSource } from "../cluster/index.ts";
import { parseRelays, sourceFromRelay } from "../relay/index.ts";

export interface RelayFlags {
  readonly relay?: string;
  readonly relayCa?: string;
  readonly relayCert?: string;
  readonly relayKey?: string;
  readonly relayTokenFile?: string;
  readonly relayName?: string;
}

/** Adds --relay and what goes with it. */
export function relayFlags(command: Command): Command {
  return command
    .option("--relay <host:port>", "follow the cluster by relays instead of the API server itself; several by commas")
    .option("--relay-ca <file>", "the authority of the relays' certificates (default: those that the system trusts)")
    .option("--relay-cert <file>", "this agent's certificate for them")
    .option("--relay-key <file>", "its key")
    .option("--relay-name <name>", "the name in the relays' certificates, where it is not how they are reached")
    .option("--relay-token-file <file>", "or the token for them, read anew for each connection");
}

/** The source that the flags ask for; undefined: no relay. @throws FairleadError `bad-relay`, `no-file` */
export function relaySource(flags: RelayFlags, node: string, onProblem: (message: string) => void): ClusterSource | undefined {
  if (flags.relay === undefined) return undefined;
  const { relayCa: ca, relayCert: cert, relayKey: key, relayTokenFile: tokenFile } = flags;
  return sourceFromRelay({
    relays: parseRelays(flags.relay),
    node,
    onProblem,
    tls: {
      ...(ca === undefined ? {} : { ca: readGiven(ca) }),
      ...(cert === undefined ? {} : { cert: readGiven(cert) }),
      ...(key === undefined ? {} : { key: readGiven(key) }),
      ...(flags.relayName === undefined ? {} : { servername: flags.relayName }),
    },
    ...(tokenFile === undefined ? {} : { token: () => readGiven(tokenFile).toString("utf8").trim() }),
  });
}

/** A file that a flag names. @throws FairleadError `no-file` */
export function readGiven(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new FairleadError("no-file", messageOf(cause), { where: file, remedy: "correct the path", cause });
  }
}
