// Entry of a lab's daemon: raises the lab, serves the command line, takes the lab down when it is asked to or ended.
//
// Everything a lab consists of hangs on this process: namespaces are held by its descriptors, other processes end
// with it. What is left after it was killed is a directory, which the next `lab up` or `lab down` removes.
import { createWriteStream, rmSync, writeFileSync } from "node:fs";
import { messageOf } from "../base/index.ts";
import type { LabOptions } from "./lab.ts";
import { labPaths } from "./paths.ts";
import { startResponders } from "./workload/responders.ts";

/** What the daemon tells the process that started it. */
export type DaemonMessage = { readonly progress: string } | { readonly ready: true } | { readonly error: string };

/** Descriptor of the API's listening socket, inherited. */
const API_FD = 4;

const options = JSON.parse(process.argv[2] ?? "{}") as LabOptions;
const paths = labPaths(options.name);
const log = createWriteStream(paths.log, { flags: "a", mode: 0o600 });
const tell = (message: DaemonMessage) => {
  if (process.connected) process.send?.(message);
};
const write = (message: string) => log.write(`${new Date().toISOString()} ${message}\n`);
// This process takes its time to load, too: both do so at once.
const responders = startResponders(() => write("the responder process died; its pods answer again after a restart of the lab"));
const [{ Lab }, { labMethods }, { serveRpc }] = await Promise.all([import("./lab.ts"), import("./methods.ts"), import("./rpc.ts")]);
const lab = new Lab({
  options,
  paths,
  apiFd: API_FD,
  responders,
  log: write,
  progress: (progress) => tell({ progress }),
});

let ending: Promise<readonly string[]> | undefined;
function shutDown(): Promise<readonly string[]> {
  ending ??= lab
    .close()
    .catch((error) => {
      write(`down: ${messageOf(error)}`);
      return [];
    })
    .then((notices) => {
      // After the answer has gone out. What was still under way may have written until the end, so files go last. Where something
      // is left elsewhere, they say what, for the next "lab down".
      process.once("exit", () => rmSync(notices.length > 0 ? paths.socket : paths.directory, { recursive: true, force: true }));
      setTimeout(() => process.exit(0), 20);
      return notices;
    });
  return ending;
}

process.on("SIGTERM", () => void shutDown());
process.on("SIGINT", () => void shutDown());
process.on("uncaughtException", (error) => log.write(`${new Date().toISOString()} ${error.stack}\n`));
process.on("unhandledRejection", (error) =>
  log.write(`${new Date().toISOString()} ${error instanceof Error ? error.stack : String(error)}\n`),
);

// Whoever asked for the lab is gone before it stands: nothing half-made stays.
let standing = false;
process.on("disconnect", () => {
  if (!standing) void shutDown();
});

try {
  await lab.start();
  writeFileSync(paths.kubeconfig, lab.plane.kubeconfig(), { mode: 0o600 });
  await serveRpc(paths.socket, labMethods(lab, shutDown));
  standing = true;
  tell({ ready: true });
} catch (error) {
  log.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  tell({ error: messageOf(error) });
  await lab.close().catch(() => {});
  rmSync(paths.directory, { recursive: true, force: true });
  process.exitCode = 1;
  setTimeout(() => process.exit(1), 20);
}
process.disconnect?.();
