// Objects as JSON. What the store holds never changes, so its text is made once: for the file, for answers, lists and watches.
import type { KubeObject } from "../resources/index.ts";
import type { WatchEvent } from "./store.ts";

const texts = new WeakMap<object, string>();
const encoder = new TextEncoder();

/** The JSON of an object: the one that was kept, or made now. */
export function textOf(object: KubeObject): string {
  return texts.get(object) ?? JSON.stringify(object);
}

/** Keeps the text of an object that will not change any more, for as long as the object is there. */
export function keepText(object: KubeObject, text: string): void {
  texts.set(object, text);
}

/** Gives up the text of an object that was replaced: hardly anybody asks for it again. */
export function dropText(object: KubeObject): void {
  texts.delete(object);
}

/** A list of objects with its head, as lists are answered. */
export function listText(
  head: { readonly kind: string; readonly apiVersion: string; readonly metadata: object },
  items: readonly KubeObject[],
): string {
  return `${JSON.stringify(head).slice(0, -1)},"items":[${items.map(textOf).join(",")}]}\n`;
}

let last: { readonly event: WatchEvent; readonly line: Uint8Array } | undefined;

/** An event as watches send it, one line. All watchers of a change are told in a row, so that they share the last line that was made. */
export function eventLine(event: WatchEvent): Uint8Array {
  if (last?.event.object !== event.object || last.event.type !== event.type)
    last = { event, line: encoder.encode(`{"type":"${event.type}","object":${textOf(event.object)}}\n`) };
  return last.line;
}
