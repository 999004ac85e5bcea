// A worker that makes the server's certificates: loading their library takes a quarter of a second, in which the main thread has other work.
import { parentPort, workerData } from "node:worker_threads";
import { type CertificateRequest, makeCertificates } from "./certificates.ts";

parentPort?.postMessage(await makeCertificates(workerData as CertificateRequest));
