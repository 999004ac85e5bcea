// The API's objects for an agent in a process of its own: calls over its message channel, answered from the lab's store.
import { FairleadError, messageOf } from "../base/index.ts";
import { ApiConflict, type ObjectApi, type WatchedResource } from "../cluster/index.ts";
import type { KubeObject } from "../resources/index.ts";

export interface ApiCall {
  readonly op: "api";
  readonly id: number;
  readonly call: keyof ObjectApi;
  readonly args: readonly unknown[];
}

export interface ApiAnswer {
  readonly op: "api";
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly message: string; readonly conflict: boolean };
}

/** Carries out a call. */
export async function answerCall(api: ObjectApi, { id, call, args }: ApiCall): Promise<ApiAnswer> {
  try {
    const [resource, second, third] = args as [WatchedResource, never, never];
    return { op: "api", id, value: await api[call](resource, second, third) };
  } catch (error) {
    return { op: "api", id, error: { message: messageOf(error), conflict: error instanceof ApiConflict } };
  }
}

/** The calling side: `answer` is to be called with what comes back. */
export function apiOverChannel(send: (call: ApiCall) => void): ObjectApi & { answer(answer: ApiAnswer): void } {
  const waiting = new Map<number, { readonly resolve: (value: never) => void; readonly reject: (error: unknown) => void }>();
  let last = 0;
  const ask = <T>(call: keyof ObjectApi, ...args: readonly unknown[]): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve, reject });
      send({ op: "api", id, call, args });
    });
  return {
    get: (resource, name, namespace) => ask("get", resource, name, namespace),
    list: (resource, labelSelector) => ask("list", resource, labelSelector),
    create: (resource, object) => ask("create", resource, object),
    update: (resource, object, subresource) => ask("update", resource, object, subresource),
    delete: (resource, object: Pick<KubeObject, "metadata">, grace) => ask("delete", resource, { metadata: object.metadata }, grace),
    answer({ id, value, error }) {
      const call = waiting.get(id);
      waiting.delete(id);
      if (!error) call?.resolve(value as never);
      else call?.reject(error.conflict ? new ApiConflict(error.message) : new FairleadError("api-failed", error.message));
    },
  };
}
