// What tests ask of the running kernel's age.
import { release } from "node:os";

/** Why what came with Linux `since` ("6.3"), and was changed with `before`, can't be tested here; false where it can. */
export function lacksLinux(since: string, before?: string): string | false {
  if (isOlder(release(), since)) return `LACKS Linux ${since}: this is ${release()}`;
  return before !== undefined && !isOlder(release(), before) && `LACKS a Linux before ${before}: this is ${release()}`;
}

function isOlder(release: string, than: string): boolean {
  return release.localeCompare(than, "en", { numeric: true }) < 0;
}
