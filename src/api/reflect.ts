// The part of the decorators' metadata API that @peculiar/x509's container needs at load, and does not bring along.

type Metadata = Map<unknown, unknown>;
const kept = new WeakMap<object, Metadata>();

function own(key: unknown, target: object): unknown {
  return kept.get(target)?.get(key);
}

function define(key: unknown, value: unknown, target: object): void {
  const metadata = kept.get(target) ?? new Map<unknown, unknown>();
  kept.set(target, metadata.set(key, value));
}

function inherited(key: unknown, target: object): unknown {
  for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at)) {
    const value = own(key, at);
    if (value !== undefined) return value;
  }
  return undefined;
}

/** Adds to Reflect what is not there; a full implementation loaded before stays. */
export function provideReflectMetadata(): void {
  if ("getMetadata" in Reflect) return;
  Object.assign(Reflect, {
    defineMetadata: define,
    getMetadata: inherited,
    getOwnMetadata: own,
    hasMetadata: (key: unknown, target: object) => inherited(key, target) !== undefined,
    hasOwnMetadata: (key: unknown, target: object) => own(key, target) !== undefined,
    metadata: (key: unknown, value: unknown) => (target: object) => define(key, value, target),
  });
}
