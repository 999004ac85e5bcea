// Runs the rows of test/service-rows.ts in a network, many at a time, and tells every one that came out otherwise.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Answer, type Place, podAddress, type ServiceNetwork } from "./service-network.ts";
import { type Outcome, type Row, rows } from "./service-rows.ts";

/** How a machine is taken: a slow one (an emulated one, above all) needs more time. */
export interface Pace {
  /** Milliseconds without an answer that count as dropped. */
  readonly silence: number;
  /** Milliseconds that an answer may take. */
  readonly patience: number;
  /** Rows under way at once. */
  readonly atOnce: number;
  /** One row of so many is tried; all with FAIRLEAD_ROWS=all. */
  readonly every: number;
}

const PACE: Pace = { silence: 350, patience: 30_000, atOnce: 48, every: 1 };
/** Attempts after which an end point that has not answered never will: of three, one is missed by chance once in 10^16. */
const MOST_ATTEMPTS = 90;
/** Attempts at least: an end point that should not answer has its chance. */
const LEAST_ATTEMPTS = 5;

/** One test for each source, so that a failure says where to look. */
export function testRows(net: () => ServiceNetwork, pace: Pace = PACE): void {
  const every = process.env.FAIRLEAD_ROWS === "all" ? 1 : pace.every;
  const bySource = Map.groupBy(
    rows().filter((_, index) => index % every === 0),
    ({ from }) => from,
  );
  for (const [from, group] of bySource)
    test(`from ${from}: ${group.length} rows`, async () => {
      const wrong: string[] = [];
      const waiting = [...group];
      const work = async () => {
        for (let row = waiting.pop(); row; row = waiting.pop()) {
          const fault = await faultOf(net(), row, pace);
          if (fault !== undefined) wrong.push(`${row.says} (${row.address} port ${row.port}): ${fault}`);
        }
      };
      await Promise.all(Array.from({ length: pace.atOnce }, work));
      assert.deepEqual(wrong.sort(), []);
    });
}

/** What came out otherwise than the row says; undefined if nothing did. */
async function faultOf(net: ServiceNetwork, row: Row, { silence, patience }: Pace): Promise<string | undefined> {
  const { expect } = row;
  const attempt = (milliseconds: number): Promise<Answer> =>
    row.protocol === "tcp"
      ? net.connect(row.from, row.address, row.port, milliseconds)
      : net.ask(row.from, row.address, row.port, milliseconds);
  if (typeof expect === "string") {
    const answer = await attempt(expect === "dropped" ? silence : patience);
    const verdict = expect === "dropped" ? "timeout" : "refused";
    return answer.verdict === verdict ? undefined : `expected ${expect}, but ${tell(answer)}`;
  }
  const missing = new Set(Object.keys(expect.pods));
  for (let times = 1; times <= MOST_ATTEMPTS && (missing.size > 0 || times <= LEAST_ATTEMPTS); times++) {
    const answer = await attempt(patience);
    const fault = faultOfAnswer(row, expect, answer);
    if (fault !== undefined) return fault;
    missing.delete(answer.pod ?? "");
  }
  return missing.size === 0 ? undefined : `${[...missing].join(", ")} never answered`;
}

function faultOfAnswer({ family }: Row, { pods }: Exclude<Outcome, string>, answer: Answer): string | undefined {
  const seen = (pods as Readonly<Record<string, Place>>)[answer.pod ?? ""];
  if (answer.verdict !== "connected" || seen === undefined) return `expected ${Object.keys(pods).join(" or ")}, but ${tell(answer)}`;
  return addressesOf(seen, family).includes(answer.seen ?? "") ? undefined : `${answer.pod} saw ${answer.seen}, not ${seen}`;
}

function tell({ verdict, pod, seen }: Answer): string {
  return verdict === "connected" ? `${pod} answered, and saw ${seen}` : `it was ${verdict}`;
}

/** Addresses that a place may have as a sender. A node has several, by the link that the packet leaves on. */
function addressesOf(place: Place, family: 4 | 6): string[] {
  if (place === "client") return [family === 4 ? "10.112.0.1" : "fd00:112::1"];
  if (place !== "node-1" && place !== "node-2") return [podAddress(place, family)];
  const number = place === "node-1" ? 1 : 2;
  return family === 4
    ? [`10.112.0.5${number}`, `10.244.${number}.0`, `10.244.${number}.1`]
    : [`fd00:112::5${number}`, `fd00:10:244:${number}::`, `fd00:10:244:${number}::1`];
}
