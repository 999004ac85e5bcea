// Tables read back from listings of different hosts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { diffTable } from "./diff.ts";
import { parseTable } from "./parse.ts";

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
});

const FOREIGN = `table ip odd {
	counter web {
		packets 3 bytes 180
	}
	ct helper ftp-standard {
		type "ftp" protocol tcp
		l3proto ip
	}
	set weird {
		typeof @th,0,8
		elements = { 1, 2 }
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iif "lo" accept
		tcp dport 22 limit rate 10/second burst 5 packets accept
		ip daddr 192.0.2.1 dnat to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
		meta skuid 1000 counter packets 0 bytes 0 drop
		tcp flags syn / fin,syn,rst,ack counter name "web"
		tcp dport { 80, 443 } ct state new accept
	}
}
`;

test("what is not understood in somebody else's table is kept as opaque text, and the rest is read", () => {
  const [chain] = parseTable(FOREIGN, "ip", "odd")?.chains ?? [];
  const opaque = (text: string) => ({ opaque: text });
  const port = (right: string | string[]) => ({ left: "tcp dport", op: "==", right });
  assert.deepEqual(chain?.rules, [
    { matches: [{ left: "meta iifname", op: "==", right: "lo" }], statements: [{ verdict: "accept" }] },
    { matches: [port("22"), opaque("limit rate 10/second burst 5 packets")], statements: [{ verdict: "accept" }] },
    {
      matches: [
        { left: "ip daddr", op: "==", right: "192.0.2.1" },
        opaque("dnat to numgen random mod 2 map { 0 : 10.0.0.1 , 1 : 10.0.0.2 }"),
      ],
      statements: [],
    },
    { matches: [opaque("meta skuid 1000 counter packets 0 bytes 0")], statements: [{ verdict: "drop" }] },
    {
      matches: [{ left: "tcp flags", op: "==", right: "syn" }, opaque('/ fin , syn , rst , ack counter name "web"')],
      statements: [],
    },
    { matches: [port(["443", "80"]), { left: "ct state", op: "==", right: "new" }], statements: [{ verdict: "accept" }] },
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
