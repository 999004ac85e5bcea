// Why the server cannot serve.
import { FairleadError } from "../../base/index.ts";

export class DnsServeError extends FairleadError {}
