// The assembler: instructions as bytes (RFC 9669, section 3 to 5), and jumps.
import assert from "node:assert/strict";
import { test } from "node:test";
import { isErrno } from "../errors.ts";
import { BpfAssembler } from "./assembler.ts";

const hex = (code: BpfAssembler) => Buffer.from(code.finish()).toString("hex").match(/.{16}/g);

test("each instruction as its bytes", () => {
  const rows: readonly [says: string, code: BpfAssembler, bytes: readonly string[]][] = [
    ["r1 = 7", new BpfAssembler().move("r1", 7), ["b701000007000000"]],
    ["r1 = -1", new BpfAssembler().move("r1", -1), ["b7010000ffffffff"]],
    ["r6 = r1", new BpfAssembler().move("r6", "r1"), ["bf16000000000000"]],
    ["r2 += -8", new BpfAssembler().compute("r2", "+", -8), ["07020000f8ffffff"]],
    ["r2 >>= 16", new BpfAssembler().compute("r2", ">>", 16), ["7702000010000000"]],
    ["r2 &= r3", new BpfAssembler().compute("r2", "&", "r3"), ["5f32000000000000"]],
    ["r2 = *(u8 *)(r7 + 22)", new BpfAssembler().load(1, "r2", "r7", 22), ["7172160000000000"]],
    ["r2 = *(u64 *)(r10 - 48)", new BpfAssembler().load(8, "r2", "r10", -48), ["79a2d0ff00000000"]],
    ["*(u16 *)(r7 + 24) = r2", new BpfAssembler().store(2, "r7", 24, "r2"), ["6b27180000000000"]],
    ["*(u32 *)(r10 - 4) = 1", new BpfAssembler().store(4, "r10", -4, 1), ["620afcff01000000"]],
    ["call 1", new BpfAssembler().call(1), ["8500000001000000"]],
    ["call a module's function", new BpfAssembler().callKernel({ id: 300, btf: 1 }), ["852001002c010000"]],
    ["r1 = map 5", new BpfAssembler().loadMap("r1", 5), ["1811000005000000", "0000000000000000"]],
    ["r1 = &value of map 5", new BpfAssembler().loadMapValue("r1", 5), ["1821000005000000", "0000000000000000"]],
    ["exit", new BpfAssembler().exit(), ["9500000000000000"]],
  ];
  for (const [says, code, bytes] of rows) assert.deepEqual(hex(code), bytes, says);
});

test("jumps go to their labels, over instructions of two places too", () => {
  const code = new BpfAssembler().jumpIf("r2", "==", 0, "end").loadMap("r1", 5).jumpIf("r2", ">", "r8", "end").jump("end");
  assert.deepEqual(
    code
      .label("end")
      .exit()
      .finish()
      .filter((_, index) => index % 8 === 2)
      .slice(0, 4),
    new Uint8Array([4, 0, 0, 1]),
  );
});

test("a jump without a label, or back, is refused", () => {
  const refused = (code: BpfAssembler) =>
    assert.throws(
      () => code.finish(),
      (thrown) => isErrno(thrown, "EINVAL"),
    );
  refused(new BpfAssembler().jump("nowhere").exit());
  refused(new BpfAssembler().label("loop").move("r0", 0).jump("loop").exit());
});
