// The matrix by packets, where some pairs are known to connect.
import type { MatrixAnswer, ProbeResult } from "../src/lab/index.ts";
import type { Place } from "./fairlead.ts";

/** How long a pair waits that may be denied, and one that should connect, in milliseconds. */
const DENIED_MS = 250;
const CONNECTS_MS = 20_000;

/**
 * Tries all pairs. What should connect may take its time, while a short wait is enough where nothing is to come: only a pair that should
 * connect and did not within that is tried once more, patiently.
 */
export async function tryPairs(place: Place, shouldConnect: (pair: ProbeResult, index: number) => boolean): Promise<ProbeResult[]> {
  const { pairs } = await place.json<MatrixAnswer>("matrix", "--all", "--timeout", String(DENIED_MS));
  const patiently = ({ from, to, port, protocol }: ProbeResult) =>
    place.json<ProbeResult>("probe", from, `${to}:${port}`, "--protocol", protocol.toLowerCase(), "--timeout", String(CONNECTS_MS));
  return Promise.all(pairs.map((pair, index) => (pair.verdict === "timeout" && shouldConnect(pair, index) ? patiently(pair) : pair)));
}
