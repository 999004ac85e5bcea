import assert from "node:assert/strict";
import { test } from "node:test";
import { PORT_PROTOCOLS, protocolTitle, TRANSPORTS, transportName } from "./index.ts";

test("numbers have names, and names numbers", () => {
  for (const [name, number] of Object.entries(TRANSPORTS)) {
    assert.equal(transportName(number), name);
    assert.equal(PORT_PROTOCOLS.get(name.toUpperCase()), number);
    assert.equal(protocolTitle(number), name.toUpperCase());
  }
  assert.deepEqual([1, 58, 136, 47].map(protocolTitle), ["ICMP", "ICMPv6", "UDPLite", undefined]);
});

test("what is none of them has no name: other numbers, other letters, what every object has", () => {
  assert.deepEqual([1, 0, 256, undefined].map(transportName), [undefined, undefined, undefined, undefined]);
  assert.deepEqual(
    ["tcp", "constructor", "", 6].map((word) => PORT_PROTOCOLS.get(word)),
    [undefined, undefined, undefined, undefined],
  );
});
