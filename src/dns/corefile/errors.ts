// What is wrong in a Corefile, at its line and column.
import { FairleadError } from "../../base/index.ts";

/** Where a word stands: the file, its line and column from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export class CorefileError extends FairleadError {
  readonly place: Place;

  constructor(place: Place, message: string, remedy?: string) {
    super("corefile", message, { where: `${place.file}:${place.line}:${place.column}`, remedy });
    this.place = place;
  }
}
