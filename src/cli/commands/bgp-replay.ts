// fairlead bgp replay: a monitor's lines read again: what was said, and the routes that follow from it.
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { viewRoute } from "../../agent/index.ts";
import { FairleadError, messageOf } from "../../base/index.ts";
import { entriesOf, formatAsPath, type Message, type ReplayedEvent, replayMonitor } from "../../bgp/index.ts";
import { paint, printJson } from "../terminal.ts";
import { showIn } from "./bgp-routes.ts";

interface ReplayFlags {
  readonly output?: string;
  readonly routes?: boolean;
}

export function command(command: Command): void {
  command
    .argument("<file>", "what `fairlead bgp monitor` wrote; - for standard input")
    .option("-o, --output <format>", "json for machines")
    .option("--routes", "only the routes that follow from it")
    .addHelpText("after", "\nExamples:\n  fairlead bgp replay session.jsonl\n  fairlead bgp replay session.jsonl --routes -o json\n")
    .action((file: string, flags: ReplayFlags) => {
      const { events, routes, unread } = replayMonitor(read(file).split("\n"));
      for (const { line, why } of unread) process.stderr.write(`${paint.warn("!")} line ${line}: ${why}\n`);
      const told = flags.routes ? [] : events.map((event) => ({ time: event.time ?? null, peer: peerOf(event), says: describe(event) }));
      const views = routes.map(viewRoute);
      if (flags.output === "json") printJson({ ...(flags.routes ? {} : { events: told }), routes: views, unread });
      else {
        const lines = told.map(({ time, peer, says }) => `${paint.dim(clock(time))}  ${paint.name(peer)}  ${says}`);
        process.stdout.write(`${[...lines, showIn(views)].join("\n")}\n`);
      }
    });
}

function read(file: string): string {
  try {
    return readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (cause) {
    throw new FairleadError("no-file", messageOf(cause), { where: file, remedy: "give a file that fairlead bgp monitor wrote", cause });
  }
}

const clock = (time: number | null) => (time === null ? "--:--:--.---" : new Date(time).toISOString().slice(11, 23));
const peerOf = ({ line }: ReplayedEvent) => ("peer" in line ? line.peer : "");

function describe({ line, message }: ReplayedEvent): string {
  switch (line.type) {
    case "speaker":
      return `AS ${line.localAs}, router id ${line.routerId}`;
    case "peer":
      return `configured: ${line.config.address}, AS ${line.config.as}`;
    case "phase":
      return line.why === undefined ? line.phase : `${line.phase}: ${line.why}`;
    case "problem":
      return `${line.says}; ${line.action}`;
    case "end-of-rib":
      return `has told all its IPv${line.family} routes`;
    case "routes":
      return `its IPv${line.family} routes: ${line.what}`;
    case "local":
      return `own routes: ${line.routes.map(({ prefix }) => prefix).join(" ") || "none"}`;
    case "restarted":
      return "the restart is over";
    case "message":
      return `${line.direction === "in" ? "→" : "←"} ${message ? describeMessage(message) : "?"}`;
  }
}

function describeMessage(message: Message): string {
  switch (message.type) {
    case "open":
      return `OPEN AS ${message.as}, hold ${message.holdSeconds} s, ${message.capabilities.map(({ type }) => type).join(" ")}`;
    case "keepalive":
      return "KEEPALIVE";
    case "notification":
      return `NOTIFICATION ${message.code}/${message.subcode}`;
    case "route-refresh":
      return `ROUTE-REFRESH IPv${message.family ?? "?"} ${message.mark}`;
    case "update": {
      if (message.endOfRib !== undefined) return `UPDATE end of IPv${message.endOfRib} routes`;
      const announced = message.announced.map(
        ({ nlri, attributes }) =>
          `${entriesOf(nlri)
            .map(({ prefix }) => prefix)
            .join(" ")} by ${attributes.nextHop || attributes.linkLocalNextHop} (${formatAsPath(attributes.asPath) || "own AS"})`,
      );
      const withdrawn = message.withdrawn.flatMap((nlri) => entriesOf(nlri).map(({ prefix }) => `-${prefix}`));
      return `UPDATE ${[...announced, ...withdrawn].join("; ")}`;
    }
  }
}
