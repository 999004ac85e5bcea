// Looks now and then whether the Corefile, or a file that it imports, has changed, and takes it into force.
import { messageOf } from "../../../base/index.ts";
import type { Host, Installed } from "../../plugin.ts";

export interface ReloadOptions {
  /** Milliseconds. */
  readonly interval: number;
  /** Milliseconds by which each look may be early or late, so that many servers do not reload at once. */
  readonly jitter: number;
  readonly host: Host;
}

export function createReload({ interval, jitter, host }: ReloadOptions): Installed {
  const failed = host.metrics.counter("coredns_reload_failed_total", "Counter of the number of failed reload attempts.", []).with();
  const version = host.metrics.gauge(
    "coredns_reload_version_info",
    "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
    ["hash", "value"],
  );
  let timer: NodeJS.Timeout | undefined;
  let told = "";
  const wait = () => {
    timer = setTimeout(() => void look(), interval + (host.random() * 2 - 1) * jitter).unref();
  };
  const look = async () => {
    try {
      if (await host.reload()) host.log("info", "reload", "Reloading complete");
      told = "";
    } catch (error) {
      failed.inc();
      // The same fault is told once.
      if (told !== messageOf(error)) host.log("error", "reload", `Corefile changed but reload failed: ${messageOf(error)}`);
      told = messageOf(error);
    }
    if (timer) wait();
  };
  return {
    start: () => {
      version.with("sha512", host.digest()).set(1);
      wait();
    },
    stop: () => {
      clearTimeout(timer);
      timer = undefined;
    },
  };
}
