import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const BIN = fileURLToPath(new URL("../../bin/fairlead", import.meta.url));

/** What bash would offer for the last of the words. */
function offered(script: string, ...words: string[]): string[] {
  const line = `${script}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_fairlead\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", line, "bash", "fairlead", ...words], { encoding: "utf8" });
  assert.equal(stderr, "");
  return stdout.split("\n").filter(Boolean);
}

test("bash completes first words, second words of every group, and options", () => {
  const script = spawnSync(BIN, ["completion", "bash"], { encoding: "utf8" }).stdout;
  assert.deepEqual(offered(script, "po"), ["policy"]);
  assert.deepEqual(offered(script, "lab", "st"), ["status"]);
  assert.deepEqual(offered(script, "bgp", ""), ["status", "routes", "monitor", "replay"]);
  assert.ok(offered(script, "policy", "test", "--f").includes("--format"));
  assert.ok(offered(script, "matrix", "--").includes("--expect"));
  assert.deepEqual(offered(script, "nothing", "--"), []);
});

test("the scripts for zsh and fish are what their shells read, where they are installed", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "completion-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const read = (shell: string, ...words: string[]) => {
    const script = spawnSync(BIN, ["completion", shell], { encoding: "utf8" });
    assert.equal(script.status, 0);
    writeFileSync(join(folder, shell), script.stdout);
    const ran = spawnSync(shell, words, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    if (ran.error) t.diagnostic(`${shell} is not here: its script was not read by it`);
    else assert.equal(ran.stderr, "", shell);
    return ran.error ? undefined : ran.stdout;
  };
  read("zsh", "-n", "zsh");
  const offered = read("fish", "--no-config", "-c", "source fish; complete -C 'fairlead bgp re'; complete -C 'fairlead policy test --for'");
  if (offered !== undefined)
    assert.deepEqual(
      offered.split("\n").map((line) => line.split("\t")[0]),
      ["replay", "--format", ""],
    );
});
