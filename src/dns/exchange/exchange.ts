// Asking another server: whom, and what counts as an answer.
import { FairleadError } from "../../base/index.ts";
import type { Message } from "../message.ts";

export interface Peer {
  readonly address: string;
  readonly port: number;
  /** For messages and metrics: "10.112.0.1:53". */
  readonly text: string;
}

/** Another server gave no answer. */
export class ExchangeError extends FairleadError {
  constructor(message: string) {
    super("dns-exchange", message);
  }
}

/** Whether the answer repeats the question, in any letter case. Refusals may come without one. */
export function sameQuestion(query: Message, answer: Message): boolean {
  const [asked] = query.questions;
  const [given] = answer.questions;
  if (!given) return answer.rcode !== 0 && answer.answers.length === 0;
  return (
    asked !== undefined && asked.type === given.type && asked.class === given.class && asked.name.toLowerCase() === given.name.toLowerCase()
  );
}
