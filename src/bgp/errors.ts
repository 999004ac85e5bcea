// What a caller of this room can do wrong; what a neighbour does wrong is a ProtocolError, which is data.
import { type ErrorDetails, FairleadError } from "../base/index.ts";

type BgpErrorCode =
  | "bad-community"
  | "bad-as-path"
  | "bad-as-number"
  | "bad-filter"
  | "bad-peer"
  | "bad-router-id"
  | "duplicate-peer"
  | "message-too-long"
  | "unknown-peer";

/** A wrong configuration or call. */
export class BgpError extends FairleadError {
  constructor(code: BgpErrorCode, message: string, details: ErrorDetails = {}) {
    super(code, message, details);
  }
}
