// What tests ask of the running kernel's age.
import { release } from "node:os";

/** Why what came with Linux `since` ("6.3") can't be tested here; false where it can. */
export function lacksLinux(since: string): string | false {
  return release().localeCompare(since, "en", { numeric: true }) < 0 && `LACKS Linux ${since}: this is ${release()}`;
}
