import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSignatureCounters, parseTcp } from "./tcp-state.ts";

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 8 1 0 100 0 0 10 0
   1: 3300700A:8AE2 3400700A:00B3 02 00000001:00000000 01:00000190 00000003     0        0 9 2 0 800 0 0 10 7
   2: broken
   3: 3300700A:00B3 3400700A:9C40 01 00000013:00000000 02:00000BB8 00000000     0        0 10 2 0 20 4 30 10 -1`;
const TCP6 = `  sl  local_address                         remote_address                        st
   0: 000000000000000000000000010000FD:00B3 0000000000000000FFFF00003400700A:9C40 01 00000000:00000000 00:0 0 0 0 1`;

test("connections are read as the kernel writes them; what is none is left out", () => {
  assert.deepEqual(
    parseTcp(TCP).map(({ local, remote, state, retransmits, unacknowledged }) => [local, remote, state, retransmits, unacknowledged]),
    [
      [{ address: "0.0.0.0", port: 179 }, { address: "0.0.0.0", port: 0 }, "LISTEN", 0, 0],
      [{ address: "10.112.0.51", port: 35554 }, { address: "10.112.0.52", port: 179 }, "SYN-SENT", 3, 1],
      [{ address: "10.112.0.51", port: 179 }, { address: "10.112.0.52", port: 40000 }, "ESTABLISHED", 0, 19],
    ],
  );
  assert.deepEqual(
    parseTcp(TCP6).map(({ remote, family }) => [remote.address, family]),
    [["10.112.0.52", 6]],
  );
  assert.deepEqual(parseTcp(""), []);
});

test("counters of signatures, and zeros where the kernel has none", () => {
  const text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure\nTcpExt: 7 1 2 3\nIpExt: A\nIpExt: 1\n";
  assert.deepEqual(parseSignatureCounters(text), { missing: 1, unexpected: 2, wrong: 3 });
  assert.deepEqual(parseSignatureCounters("TcpExt: A\nTcpExt: 1\n"), { missing: 0, unexpected: 0, wrong: 0 });
});
