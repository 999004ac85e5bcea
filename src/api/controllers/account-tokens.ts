// What service accounts bring with them: the authority's certificate in every namespace, and tokens in Secrets that ask for one.
import type { KubeObject } from "../../resources/index.ts";
import { ROOT_CA } from "../service-accounts.ts";
import { type Controller, type ControllerContext, keyOf, REF, splitKey } from "./context.ts";
import { createQueue } from "./queue.ts";

export interface AccountSecrets {
  /** The authority's certificate, PEM. */
  readonly caPem: string;
  issueToken(request: { readonly namespace: string; readonly account: string }): string;
}

interface Secret extends KubeObject {
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

const TOKEN_TYPE = "kubernetes.io/service-account-token";
const ACCOUNT_NAME = "kubernetes.io/service-account.name";

/** Begins once the server has its authority. */
export function accountTokenController(context: ControllerContext, serving: Promise<AccountSecrets> | undefined): Controller {
  let secrets: AccountSecrets | undefined;
  const namespaces = createQueue("root-ca", (name) => putCertificate(name), context.log);
  const tokens = createQueue("account-tokens", (key) => putToken(key), context.log);

  function putCertificate(namespace: string): void {
    const found = context.store.get(REF.namespaces, undefined, namespace);
    if (!secrets || !found || found.metadata.deletionTimestamp !== undefined) return;
    const data = { "ca.crt": secrets.caPem };
    const before = context.store.get<KubeObject>(REF.configMaps, namespace, ROOT_CA);
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: ROOT_CA, namespace }, data } as KubeObject;
    if (!before) context.store.create(REF.configMaps, object);
    else context.store.update(REF.configMaps, { ...before, data } as KubeObject);
  }

  function putToken(key: string): void {
    const [namespace = "", name] = splitKey(key);
    const secret = context.store.get<Secret>(REF.secrets, namespace, name);
    const account = secret?.metadata.annotations?.[ACCOUNT_NAME];
    if (!secrets || !secret || account === undefined || secret.data?.token) return;
    const object = context.store.get(REF.serviceAccounts, namespace, account);
    if (!object) return;
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    const token = secrets.issueToken({ namespace, account });
    const data = { ...secret.data, token: base64(token), "ca.crt": base64(secrets.caPem), namespace: base64(namespace) };
    const annotations = { ...secret.metadata.annotations, "kubernetes.io/service-account.uid": object.metadata.uid ?? "" };
    context.store.update(REF.secrets, { ...secret, metadata: { ...secret.metadata, annotations }, data } as Secret);
  }

  const everything = () => {
    for (const { metadata } of context.store.list(REF.namespaces).items) namespaces.add(metadata.name);
    for (const object of context.store.list<Secret>(REF.secrets).items) if (object.type === TOKEN_TYPE) tokens.add(keyOf(object));
  };
  void serving?.then((ready) => {
    secrets = ready;
    everything();
  });
  context.watch(REF.namespaces, ({ object }) => namespaces.add(object.metadata.name));
  context.watch(REF.secrets, ({ type, object }) => {
    if (type !== "DELETED" && (object as Secret).type === TOKEN_TYPE) tokens.add(keyOf(object));
  });
  return {
    get idle() {
      return namespaces.idle && tokens.idle;
    },
    close() {
      namespaces.close();
      tokens.close();
    },
  };
}
