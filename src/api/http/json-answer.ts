// Answers in JSON, and those that were given on the connection itself.
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const compress = promisify(gzip);
/** Characters from which on an answer is compressed for a client that takes that (as k8s.io/apiserver does). */
const LARGE = 128 * 1024;
/** It costs the less, the sooner it is done with: clients are near. */
const LEVEL = 1;

export function json(value: object, code = 200): Response {
  return jsonText(`${JSON.stringify(value)}\n`, code);
}

export function jsonText(text: string, code = 200): Response {
  return new Response(text, { status: code, headers: { "content-type": "application/json" } });
}

/** As `jsonText`, compressed where that is worth it and `accepted` (the request's Accept-Encoding) names gzip (RFC 9110 §12.5.3). */
export async function largeJson(text: string, accepted: string | undefined): Promise<Response> {
  if (text.length < LARGE || !/\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))/i.test(accepted ?? "")) return jsonText(text);
  const body = await compress(text, { level: LEVEL });
  return new Response(body, { headers: { "content-type": "application/json", "content-encoding": "gzip", vary: "Accept-Encoding" } });
}

/** What a handler returns that has answered on the connection itself. */
export function answeredItself(): Response {
  // A clone is the platform's own kind of response: only of those does the HTTP adaptor read this header.
  return new Response(null, { headers: { "x-hono-already-sent": "true" } }).clone();
}
