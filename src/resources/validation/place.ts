// A place in an object of unknown shape: its value, its path, and the faults found so far. Checks read places and never throw.
import { isMap } from "../json.ts";

export type FieldErrorReason =
  | "FieldValueInvalid"
  | "FieldValueRequired"
  | "FieldValueNotSupported"
  | "FieldValueDuplicate"
  | "FieldValueForbidden"
  | "FieldValueTypeInvalid";

/** A fault of one field. `${field}: ${message}` is how kubectl's users know it. */
export interface FieldError {
  /** Such as "spec.ports[0].nodePort", or "data[key]". */
  readonly field: string;
  readonly reason: FieldErrorReason;
  /** Such as "Invalid value: 70000: must be between 1 and 65535, inclusive". */
  readonly message: string;
  /** The same field as steps: names of maps' keys, and indexes of lists. */
  readonly path: readonly (string | number)[];
}

/** More faults than this of one object help nobody. */
const MAX_ERRORS = 100;

/** One value inside an object that is being checked. */
export class Place {
  readonly value: unknown;
  readonly field: string;
  readonly path: readonly (string | number)[];
  readonly #errors: FieldError[];

  constructor(value: unknown, errors: FieldError[], field = "", path: readonly (string | number)[] = []) {
    this.value = value ?? undefined;
    this.field = field;
    this.path = path;
    this.#errors = errors;
  }

  get present(): boolean {
    return this.value !== undefined;
  }

  /** The place of a field; of nothing where this is no map. */
  at(name: string): Place {
    const value = isMap(this.value) && Object.hasOwn(this.value, name) ? this.value[name] : undefined;
    return new Place(value, this.#errors, this.field === "" ? name : `${this.field}.${name}`, [...this.path, name]);
  }

  /** The place of a key that users choose, as in `data[key]`. */
  key(name: string): Place {
    const value = isMap(this.value) && Object.hasOwn(this.value, name) ? this.value[name] : undefined;
    return new Place(value, this.#errors, `${this.field}[${name}]`, [...this.path, name]);
  }

  /** The places of a list; none (and a fault) where it is something else. */
  items(): Place[] {
    if (this.value === undefined) return [];
    if (!Array.isArray(this.value)) {
      this.wrongType("a list");
      return [];
    }
    return this.value.map((value: unknown, index) => new Place(value, this.#errors, `${this.field}[${index}]`, [...this.path, index]));
  }

  /** The keys of a map; none (and a fault) where it is something else. */
  keys(): string[] {
    if (this.value === undefined) return [];
    if (isMap(this.value)) return Object.keys(this.value);
    this.wrongType("a map");
    return [];
  }

  /** Whether a map is here; a fault where something else is. */
  isMap(): boolean {
    if (isMap(this.value)) return true;
    if (this.value !== undefined) this.wrongType("a map");
    return false;
  }

  /** The text here; undefined where nothing is, and (with a fault) where something else is. */
  text(): string | undefined {
    if (this.value === undefined || typeof this.value === "string") return this.value;
    this.wrongType("text: put it in quotes");
    return undefined;
  }

  /** The whole number here; undefined where nothing is, and (with a fault) where something else is. */
  integer(): number | undefined {
    if (this.value === undefined) return undefined;
    if (typeof this.value === "number" && Number.isSafeInteger(this.value)) return this.value;
    this.wrongType("a whole number");
    return undefined;
  }

  /** A truth value, as `integer`. */
  flag(): boolean | undefined {
    if (this.value === undefined || typeof this.value === "boolean") return this.value;
    this.wrongType("true or false");
    return undefined;
  }

  /** A whole number within bounds, as `integer`. */
  between(low: number, high: number): number | undefined {
    const value = this.integer();
    if (value === undefined) return undefined;
    if (value >= low && value <= high) return value;
    this.invalid(`must be between ${low} and ${high}, inclusive`);
    return undefined;
  }

  /** A whole number from 0 on, as `integer`. */
  notNegative(): number | undefined {
    const value = this.integer();
    if (value === undefined || value >= 0) return value;
    this.invalid("must be greater than or equal to 0");
    return undefined;
  }

  /** One of some words, as `text`. */
  oneOf<W extends string>(words: readonly W[]): W | undefined {
    const value = this.text();
    if (value === undefined || words.includes(value as W)) return value as W | undefined;
    this.#fault("FieldValueNotSupported", `Unsupported value: ${shown(value)}: supported values: ${words.map(shown).join(", ")}`);
    return undefined;
  }

  invalid(why: string, value: unknown = this.value): void {
    this.#fault("FieldValueInvalid", `Invalid value: ${shown(value)}: ${why}`);
  }

  required(why?: string): void {
    this.#fault("FieldValueRequired", why === undefined ? "Required value" : `Required value: ${why}`);
  }

  /** A fault where nothing (or the empty text) is; whether something is there. */
  require(why?: string): boolean {
    if (this.value !== undefined && this.value !== "") return true;
    this.required(why);
    return false;
  }

  duplicate(value: unknown = this.value): void {
    this.#fault("FieldValueDuplicate", `Duplicate value: ${shown(value)}`);
  }

  forbidden(why: string): void {
    this.#fault("FieldValueForbidden", `Forbidden: ${why}`);
  }

  wrongType(type: string): void {
    this.#fault("FieldValueTypeInvalid", `Invalid value: ${shown(this.value)}: must be ${type}`);
  }

  #fault(reason: FieldErrorReason, message: string): void {
    // A place may be read more than once; its fault is told once.
    if (this.#errors.some((error) => error.field === this.field && error.message === message)) return;
    if (this.#errors.length < MAX_ERRORS) this.#errors.push({ field: this.field, reason, message, path: this.path });
  }
}

/** Marks what was seen before among the places' values. */
export function findDuplicates(places: Iterable<readonly [Place, string | undefined]>): void {
  const seen = new Set<string>();
  for (const [place, key] of places) {
    if (key === undefined) continue;
    if (seen.has(key)) place.duplicate();
    seen.add(key);
  }
}

/** A value as messages show it, shortened. */
function shown(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? "null";
  } catch {
    // A document may hold itself (YAML aliases); it is shown by its type.
    text = Array.isArray(value) ? "[…]" : "{…}";
  }
  return text.length > 200 ? `${text.slice(0, 199)}…` : text;
}
