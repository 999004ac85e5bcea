// The one error class of the house: a stable code, what happened and where, and what to do about it.

export interface ErrorDetails {
  /** What to do about it, as a sentence for the person who reads the message. */
  readonly remedy?: string | undefined;
  /** What it happened to: a file with line and column, an object, a device. */
  readonly where?: string | undefined;
  readonly cause?: unknown;
}

/** An error with a stable `code` (kebab-case, e.g. `bad-prefix`). Rooms derive their own from it in their `errors.ts`. */
export class FairleadError extends Error {
  readonly code: string;
  readonly where: string | undefined;
  readonly remedy: string | undefined;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    const where = details.where === undefined ? "" : `${details.where}: `;
    const remedy = details.remedy === undefined ? "" : ` (${details.remedy})`;
    super(`${where}${message}${remedy}`, details.cause === undefined ? {} : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.where = details.where;
    this.remedy = details.remedy;
  }
}

/** The message of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
