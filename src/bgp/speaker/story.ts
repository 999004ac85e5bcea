// The routes that a neighbour has sent, told again as the messages that would bring them: for a monitor that comes later.
import type { Family } from "../../base/index.ts";
import type { Rib } from "../rib/rib.ts";
import { encodeMessage } from "../wire/message.ts";
import { nlriOf } from "../wire/nlri.ts";
import type { UpdateContext } from "../wire/update.ts";
import type { MonitorLine } from "./peer-events.ts";

/** Prefixes of one message: so many fit, whatever the family. */
const TOLD_TOGETHER = 100;

/** Those that are stale come first, and what made them so. */
export function routesTold(
  received: ReturnType<Rib["received"]>,
  { peer, family, context }: { readonly peer: string; readonly family: Family; readonly context: UpdateContext },
): MonitorLine[] {
  const lines: MonitorLine[] = [];
  const told = (stale: boolean) => {
    for (const { attributes, entries } of received.filter((each) => each.stale === stale)) {
      for (let from = 0; from < entries.length; from += TOLD_TOGETHER) {
        const nlri = nlriOf(family, entries.slice(from, from + TOLD_TOGETHER));
        const update = { type: "update", announced: [{ nlri, attributes }], withdrawn: [], problems: [] } as const;
        lines.push({ type: "message", direction: "in", peer, hex: encodeMessage(update, context).toString("hex") });
      }
    }
  };
  told(true);
  if (received.some(({ stale }) => stale)) lines.push({ type: "routes", peer, family, what: "stale" });
  told(false);
  return lines;
}
