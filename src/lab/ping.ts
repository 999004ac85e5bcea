// ICMP: the host's ping, run inside a namespace.
import type { NetworkNamespace } from "../kernel/index.ts";
import type { Attempt } from "./attempt.ts";

/** One echo request. */
export function ping(namespace: NetworkNamespace, address: string, timeoutMs: number): Promise<Attempt> {
  return new Promise((resolve) => {
    const started = performance.now();
    const child = namespace.spawn("ping", ["-n", "-q", "-c", "1", "-W", String(Math.max(1, Math.ceil(timeoutMs / 1000))), address], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let answer = "";
    child.stdout?.on("data", (chunk) => {
      answer += String(chunk);
    });
    child.stderr?.on("data", (chunk) => {
      answer += String(chunk);
    });
    const elapsed = () => Math.round((performance.now() - started) * 100) / 100;
    child.on("error", (error) =>
      resolve({ verdict: "error", answer, cause: `ping: ${error.message} (Debian: apt-get install iputils-ping)`, ms: elapsed() }),
    );
    child.on("close", (status) => {
      if (status === 0) resolve({ verdict: "connected", answer, ms: Number(/= ([\d.]+)\//.exec(answer)?.[1] ?? elapsed()) });
      else resolve({ verdict: /nreachable/.test(answer) ? "unreachable" : "timeout", answer, ms: elapsed() });
    });
  });
}
