// The DNS server alone, for the benchmark: node bench/dns-server.ts COREFILE
import { spareMemory, startDns } from "../src/dns/index.ts";

spareMemory();
const server = await startDns({
  path: process.argv[2] ?? "Corefile",
  log: (_level, plugin, text) => process.stderr.write(`${plugin}: ${text}\n`),
});
process.stdout.write("ready\n");
process.once("SIGTERM", () => void server.close().then(() => process.exit(0)));
