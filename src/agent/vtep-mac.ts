// The tunnel device's MAC, kept on disk so that the peers' entries stay right over restarts.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The MAC that is kept in the state directory; a new one where there is none, or none that can be read. */
export function keptVtepMac(stateDirectory: string): string {
  const file = join(stateDirectory, "vtep-mac");
  const kept = existsSync(file) ? readFileSync(file, "utf8").trim() : "";
  if (/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(kept)) return kept;
  const mac = randomMac();
  writeFileSync(file, mac, { mode: 0o600 });
  return mac;
}

/** Locally administered, of one station. */
function randomMac(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 2;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}
