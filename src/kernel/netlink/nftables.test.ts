// Tables of nftables as bytes: what Linux 6.18 answers, and a decoder that takes anything.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeTable, tableDump } from "./nftables.ts";

test("a table as the kernel lists it", () => {
  assert.equal(Buffer.from(tableDump()).toString("hex"), "00000000");
  // struct nfgenmsg of family inet, then the name; of family ip; of one that is not known.
  const body = (family: string) => Buffer.from(`${family}0000000d000100666169726c65616400000000`, "hex");
  assert.deepEqual(decodeTable(body("01")), { family: "inet", name: "fairlead" });
  assert.deepEqual(decodeTable(body("0a")), { family: "ip6", name: "fairlead" });
  assert.equal(decodeTable(body("63")), undefined);
});

test("bytes that are no table end in an answer or an error of ours", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        decodeTable(bytes);
      } catch (error) {
        assert.match(String(error), /netlink|attribute|bytes/i);
      }
    }),
  );
});
