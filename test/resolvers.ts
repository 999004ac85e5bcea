// The two C libraries' resolvers as programs: compiled from programs/resolve.c, run with a resolv.conf of the test's own.
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = fileURLToPath(new URL("./programs/resolve.c", import.meta.url));

/** Compiles the program for both; what has no compiler here is undefined. */
export function compileResolvers(directory: string): { readonly glibc: string | undefined; readonly musl: string | undefined } {
  const compile = (compiler: string, ...flags: string[]) => {
    const out = join(directory, `resolve-${compiler}`);
    if (spawnSync(compiler, ["--version"]).error) return undefined;
    execFileSync(compiler, ["-O1", "-D_GNU_SOURCE", ...flags, "-o", out, SOURCE]);
    return out;
  };
  return { glibc: compile("cc"), musl: compile("musl-gcc", "-static") };
}

/** Runs words with `file` in place of /etc/resolv.conf; `namespace` is a path of a network namespace. Resolves to standard output. */
export function runWithResolvConf(namespace: string, file: string, words: readonly string[]): Promise<string> {
  const script = 'mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"';
  return new Promise((resolve, reject) =>
    execFile(
      "nsenter",
      [`--net=${namespace}`, "unshare", "--mount", "sh", "-c", script, file, ...words],
      { timeout: 60_000 },
      (error, out, err) => (error ? reject(new Error(`${words.join(" ")}: ${error.message} ${err}`)) : resolve(out)),
    ),
  );
}
