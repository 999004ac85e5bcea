// A place within an object as its reader walks through it: the value there, and the remarks that name it by its path.
import { type Fields, fieldsOf } from "./objects.ts";

export interface Remarks {
  /** "spec.ingress[0].source.selector", and what is wrong there. */
  wrong(path: string, says: string): void;
  /** What is understood, and perhaps not as it was meant. */
  note(path: string, says: string): void;
}

export class Place {
  readonly value: unknown;
  readonly path: string;
  readonly #remarks: Remarks;

  constructor(value: unknown, path: string, remarks: Remarks) {
    this.value = value;
    this.path = path;
    this.#remarks = remarks;
  }

  get given(): boolean {
    return this.value !== undefined && this.value !== null;
  }

  at(field: string): Place {
    return new Place(fieldsOf(this.value)[field], `${this.path}.${field}`, this.#remarks);
  }

  wrong(says: string): undefined {
    this.#remarks.wrong(this.path, says);
    return undefined;
  }

  note(says: string): void {
    this.#remarks.note(this.path, says);
  }

  /** The fields of an object; one that is not among the known is wrong. */
  object(known: readonly string[]): Fields {
    if (!this.given) return {};
    if (typeof this.value !== "object" || Array.isArray(this.value)) {
      this.wrong(`${JSON.stringify(this.value)} is no object`);
      return {};
    }
    const fields = fieldsOf(this.value);
    for (const field of Object.keys(fields))
      if (!known.includes(field)) this.at(field).wrong(`there is no such field here; known are ${known.join(", ")}`);
    return fields;
  }

  items(): readonly Place[] {
    if (!this.given) return [];
    if (Array.isArray(this.value))
      return this.value.map((item: unknown, index) => new Place(item, `${this.path}[${index}]`, this.#remarks));
    this.wrong(`${JSON.stringify(this.value)} is no list`);
    return [];
  }

  text(): string | undefined {
    if (!this.given) return undefined;
    return typeof this.value === "string" ? this.value : this.wrong(`${JSON.stringify(this.value)} is no text`);
  }

  texts(): readonly string[] {
    return this.items().flatMap((item) => item.text() ?? []);
  }

  /** What a reader made of the text here, or a remark. */
  understood<T extends object>(read: T | { readonly wrong: string }): T | undefined {
    return "wrong" in read ? this.wrong(read.wrong as string) : read;
  }
}
