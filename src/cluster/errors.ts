// What goes wrong between this program and a cluster's API server.
import { FairleadError } from "../base/index.ts";

/** A kubeconfig that cannot be used. Codes: `bad-kubeconfig`, `unsupported-credentials`. */
export class KubeconfigError extends FairleadError {}

/** An answer of the API server that is no success; `status` is the HTTP code, 0 where no answer came. Code: `kubernetes-api`. */
export class KubernetesApiError extends FairleadError {
  readonly status: number;

  constructor(status: number, message: string, details: { readonly where?: string; readonly cause?: unknown } = {}) {
    super("kubernetes-api", message, { ...details, remedy: remedyFor(status) });
    this.status = status;
  }
}

function remedyFor(status: number): string | undefined {
  if (status === 0) return "is the API server up, and reachable from here?";
  if (status === 401) return "the kubeconfig's credentials are not accepted: get new ones";
  if (status === 403) return "give the user or service account a role that allows it";
  return undefined;
}

/** A write that came too late: the object is there already, has moved on, or is gone. Read it again. Code: `api-conflict`. */
export class ApiConflict extends FairleadError {
  constructor(message: string, cause?: unknown) {
    super("api-conflict", message, { cause });
  }
}
