// A server that forwards to itself, one whose upstream forwards back, and one that does neither.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ask } from "../../../../test/dns-client.ts";
import { startUpstream } from "../../../../test/dns-upstream.ts";
import { until } from "../../../../test/patience.ts";
import { startDns } from "../../serve/start.ts";

const corefile = (port: number, to: number) => `.:${port} {\n loop\n forward . 127.0.0.1:${to} {\n  max_concurrent 50\n }\n}`;

test("a circle through another server is found, told, and broken", async (t) => {
  const failures: string[] = [];
  const other = await startUpstream();
  const first = await startDns({ corefile: corefile(0, other.port), failed: (reason) => failures.push(reason) });
  const { port = 0 } = first.status().listeners[0] ?? {};
  const back = await startDns({ corefile: `.:0 {\n forward . 127.0.0.1:${port}\n}` });
  t.after(() => Promise.all([first.close(), back.close(), other.close()]));
  // The upstream hands everything back.
  other.behave = (query) => {
    const [question] = query.questions;
    return ask(question?.name ?? "", "HINFO", { port: back.status().listeners[0]?.port ?? 0 }).then((answer) => ({
      ...answer,
      id: query.id,
    }));
  };
  await until(() => failures.length > 0);
  assert.equal(failures.length, 1);
  assert.match(
    failures[0] ?? "",
    /^Loop \(127\.0\.0\.1:\d+ -> dns:\/\/:0\) detected for zone "\.".*Forward to a server that does not ask this one/,
  );
  await until(() => first.status().inFlight === 0);
  assert.equal(first.status().inFlight, 0, "nothing goes round any more");
});

test("an upstream that answers is no circle", async (t) => {
  const failures: string[] = [];
  const up = await startUpstream();
  const server = await startDns({ corefile: corefile(0, up.port), failed: (reason) => failures.push(reason) });
  t.after(() => Promise.all([server.close(), up.close()]));
  await until(() => up.asked.length > 0);
  assert.match(up.asked[0] ?? "", /^\d+\.\d+\. HINFO udp$/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(failures, []);
});
