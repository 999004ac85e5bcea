// What goes over a relay's stream: one line each, so that a line is written once however many read it.
//
//   + KEY DIGEST OBJECT   it is so now           - KEY   it is gone, or no longer needed
//   =                     that was all there is  .       still here         >   go to another replica
import { hash } from "node:crypto";
import type { KubeObject } from "../resources/index.ts";

export type Line =
  | { readonly type: "put"; readonly key: string; readonly digest: string; readonly json: string }
  | { readonly type: "gone"; readonly key: string }
  | { readonly type: "complete" | "alive" | "move" };

export const COMPLETE = "=\n";
export const ALIVE = ".\n";
export const MOVE = ">\n";

/** "v1|Pod|shop|web-1": what an object is called among all kinds. No part may have a blank or a bar in it, and none has. */
export function keyOf({ apiVersion, kind, metadata }: KubeObject): string {
  return `${apiVersion}|${kind}|${metadata.namespace ?? ""}|${metadata.name}`;
}

/** The least object that has the key. */
export function objectOfKey(key: string): KubeObject {
  const [apiVersion = "", kind = "", namespace = "", name = ""] = key.split("|");
  return { apiVersion, kind, metadata: { ...(namespace === "" ? {} : { namespace }), name } };
}

/** An object's line, with a digest of its text: equal objects have equal ones at every replica. */
export function putLine(object: KubeObject): { readonly digest: string; readonly text: string } {
  const json = JSON.stringify(object);
  const digest = hash("sha1", json, "base64url").slice(0, 16);
  return { digest, text: `+ ${keyOf(object)} ${digest} ${json}\n` };
}

export function goneLine(key: string): string {
  return `- ${key}\n`;
}

/** Reads a line; undefined: it is none of these. Total. */
export function readLine(text: string): Line | undefined {
  switch (text[0]) {
    case "+": {
      const key = text.indexOf(" ", 2);
      const digest = key < 0 ? -1 : text.indexOf(" ", key + 1);
      if (digest < 0 || !isKey(text.slice(2, key))) return undefined;
      return { type: "put", key: text.slice(2, key), digest: text.slice(key + 1, digest), json: text.slice(digest + 1) };
    }
    case "-":
      return isKey(text.slice(2)) ? { type: "gone", key: text.slice(2) } : undefined;
    case "=":
      return { type: "complete" };
    case ".":
      return { type: "alive" };
    case ">":
      return { type: "move" };
    default:
      return undefined;
  }
}

function isKey(text: string): boolean {
  return text.split("|").length === 4 && !text.includes(" ");
}
