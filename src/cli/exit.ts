// How a command says "no": not an error, an answer with exit status 1.

/** Thrown by a command whose answer is "no" after it has printed it. */
export class Answer extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}
