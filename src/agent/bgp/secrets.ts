// Passwords of BGP sessions: named Secrets, asked for one by one, from the namespaces that Calico's may be in.
import { messageOf } from "../../base/index.ts";
import type { ObjectApi } from "../../cluster/index.ts";
import type { KubeObject } from "../../resources/index.ts";
import { NO_SECRETS, type SecretSource } from "./node-bgp.ts";

const SECRETS = { group: "", version: "v1", plural: "secrets" } as const;
/** Where Calico's node agents live: by its operator, and by its manifests. */
const NAMESPACES = ["calico-system", "kube-system"] as const;
/** How often a Secret that is missing, and one that is there, is asked for, in milliseconds. */
const MISSING_MS = 2000;
const KNOWN_MS = 30_000;

interface Secret extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
}

type Values = Readonly<Record<string, string>>;

/** Follows named Secrets by asking for them; without an API there are none. */
export function secretsFromApi(api: ObjectApi | undefined, log: (message: string) => void): SecretSource {
  if (!api) return NO_SECRETS;
  const known = new Map<string, Values>();
  const timers = new Map<string, NodeJS.Timeout>();
  let wanted: readonly string[] = [];
  let tell = () => {};
  let said = "";
  let closed = false;

  async function ask(name: string): Promise<void> {
    let values: Values | undefined;
    try {
      values = await read(api as ObjectApi, name);
      said = "";
    } catch (error) {
      const why = `Secret ${name}: ${messageOf(error)}`;
      if (why !== said) log(why);
      said = why;
      values = known.get(name);
    }
    if (closed || !wanted.includes(name)) return;
    if (JSON.stringify(values) !== JSON.stringify(known.get(name))) {
      if (values) known.set(name, values);
      else known.delete(name);
      tell();
    }
    timers.set(name, setTimeout(() => void ask(name), values ? KNOWN_MS : MISSING_MS).unref());
  }

  return {
    follow(names, changed) {
      tell = changed;
      const fresh = names.filter((name) => !wanted.includes(name));
      for (const name of wanted) {
        if (names.includes(name)) continue;
        clearTimeout(timers.get(name));
        known.delete(name);
      }
      wanted = names;
      for (const name of fresh) void ask(name);
    },
    get: (name) => known.get(name),
    close() {
      closed = true;
      for (const timer of timers.values()) clearTimeout(timer);
    },
  };
}

async function read(api: ObjectApi, name: string): Promise<Values | undefined> {
  let failure: unknown;
  for (const namespace of NAMESPACES) {
    // Who may not read the one namespace may be let read the other.
    const secret = await api.get<Secret>(SECRETS, name, namespace).catch((error) => {
      failure = error;
      return undefined;
    });
    if (!secret) continue;
    const decoded = Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(String(value), "base64").toString("utf8")]);
    return { ...Object.fromEntries(decoded), ...secret.stringData };
  }
  if (failure !== undefined) throw failure;
  return undefined;
}
