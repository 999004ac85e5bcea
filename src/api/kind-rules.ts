// What kinds ask for of their own: the defaults and the faults of the resources room, as the store takes them.
import { applyDefaults, validateBody } from "../resources/index.ts";
import type { KindRules } from "./sqlite-store.ts";

/** The rules of all kinds that are known. Metadata is checked by the store itself, for any kind. */
export const kindRules: KindRules = {
  applyDefaults(object, old) {
    const filled = applyDefaults(object, old);
    if (filled !== object) Object.assign(object, filled);
  },
  validate: (object, old) => validateBody(object, old).map(({ reason, message, field }) => ({ reason, message, field })),
};
