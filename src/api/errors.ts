// Errors as the Kubernetes API tells them: a Status with a reason, an HTTP code and causes.
import { FairleadError } from "../base/index.ts";

export interface StatusCause {
  readonly reason?: string;
  readonly message: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface Status {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: Record<string, never>;
  readonly status: "Failure" | "Success";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code?: number;
}

const codes = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Expired: 410,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  Invalid: 422,
  TooManyRequests: 429,
  InternalError: 500,
  NotImplemented: 501,
  ServiceUnavailable: 503,
  Timeout: 504,
} as const;

export type StatusReason = keyof typeof codes;

/** An error that the API answers with; `code` of FairleadError is `api-REASON`, `httpCode` the number. */
export class ApiError extends FairleadError {
  readonly reason: StatusReason;
  readonly httpCode: number;
  readonly details: StatusDetails | undefined;

  constructor(reason: StatusReason, message: string, details?: StatusDetails, cause?: unknown) {
    super(`api-${reason.toLowerCase()}`, message, { cause });
    this.reason = reason;
    this.httpCode = codes[reason];
    this.details = details;
  }

  toStatus(): Status {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      reason: this.reason,
      ...(this.details ? { details: this.details } : {}),
      code: this.httpCode,
    };
  }
}

/** How messages name a resource: `pods`, `deployments.apps`. */
function qualified(resource: { readonly group: string; readonly plural: string }): string {
  return resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
}

type Named = { readonly group: string; readonly plural: string };

function about(resource: Named, name: string): StatusDetails {
  return { name, ...(resource.group ? { group: resource.group } : {}), kind: resource.plural };
}

export function notFound(resource: Named, name: string): ApiError {
  return new ApiError("NotFound", `${qualified(resource)} "${name}" not found`, about(resource, name));
}

export function alreadyExists(resource: Named, name: string): ApiError {
  return new ApiError("AlreadyExists", `${qualified(resource)} "${name}" already exists`, about(resource, name));
}

export function conflict(resource: Named, name: string, why: string): ApiError {
  return new ApiError("Conflict", `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`, about(resource, name));
}

export function forbidden(resource: Named, name: string, why: string, causes?: readonly StatusCause[]): ApiError {
  return new ApiError("Forbidden", `${qualified(resource)} "${name}" is forbidden: ${why}`, {
    ...about(resource, name),
    ...(causes ? { causes } : {}),
  });
}

/** 422 with a cause per field. `kind` is the object's kind, as users see it: `Service "x" is invalid: …`. */
export function invalid(group: string, kind: string, name: string, causes: readonly StatusCause[]): ApiError {
  const said = causes.map((cause) => (cause.field ? `${cause.field}: ${cause.message}` : cause.message));
  const list = said.length === 1 ? said[0] : `[${said.join(", ")}]`;
  return new ApiError("Invalid", `${kind}${group ? `.${group}` : ""} "${name}" is invalid: ${list}`, {
    name,
    ...(group ? { group } : {}),
    kind,
    causes,
  });
}

export function badRequest(message: string, cause?: unknown): ApiError {
  return new ApiError("BadRequest", message, undefined, cause);
}
