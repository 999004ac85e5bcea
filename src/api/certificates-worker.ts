// A worker that makes the server's certificates: loading their library takes a quarter of a second, in which the main thread has other work.
import { parentPort, workerData } from "node:worker_threads";
import { makeCertificates } from "./certificates.ts";

const { names, now } = workerData as { readonly names: readonly string[]; readonly now: number };
parentPort?.postMessage(await makeCertificates(names, now));
