// Tables read back from listings of different hosts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { diffTable } from "./diff.ts";
import { parseTable, parseTableList } from "./parse.ts";

const LISTING = `table inet fairlead {
	map services4 {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = { 10.96.0.1 . tcp . 443 comment "Service/default/kubernetes#https" : goto pick,
			     10.96.0.10 . udp . 53 : drop }
	}
	chain pick {
		meta l4proto tcp accept
	}
}
`;

test("protocols are the same by name and by number", () => {
  const named = parseTable(LISTING, "inet", "fairlead");
  const numbered = parseTable(
    LISTING.replace(". tcp .", ". 6 .").replace(". udp .", ". 17 .").replace("l4proto tcp", "l4proto 6"),
    "inet",
    "fairlead",
  );
  assert.ok(named && numbered);
  assert.deepEqual(numbered, named);
  assert.equal(diffTable(numbered, named), "");
});

test("a table that is not there, and bytes that are no listing", () => {
  assert.equal(parseTable(LISTING, "ip", "fairlead"), undefined);
  assert.equal(parseTable("", "inet", "fairlead"), undefined);
  assert.deepEqual(parseTableList("table inet fairlead\ntable ip nat\n# warning\n"), [
    { family: "inet", name: "fairlead" },
    { family: "ip", name: "nat" },
  ]);
});

test("damaged listings end in an error or a table, never in a hang", () => {
  let state = 7;
  const below = (limit: number) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % limit;
  };
  for (let round = 0; round < 2000; round++) {
    const at = below(LISTING.length);
    const damaged = LISTING.slice(0, at) + ["", "{", "}", '"', "\u0000", "1", ";", LISTING][below(8)] + LISTING.slice(at + below(9));
    try {
      parseTable(damaged, "inet", "fairlead");
    } catch (error) {
      assert.ok(error instanceof Error && error.message.length > 0);
    }
  }
});
