// The directive rewrite: rewrite [continue|stop] FIELD [MATCH] FROM TO [answer auto|name|value …], or the same within braces.
import { type Argument, CorefileError, choice, type Directive, integer, pattern } from "../../corefile/index.ts";
import { CLASS, RCODE, typeCode } from "../../message.ts";
import type { Plugin } from "../../plugin.ts";
import { toName } from "../../wire/names.ts";
import { type NameMatch, nameRule, type Rewriter, readMatch, replaced } from "./names.ts";
import { type Rule, rewritten } from "./rewrite.ts";

const FIELDS = ["name", "type", "class", "ttl", "rcode"] as const;
const MATCHES = ["exact", "prefix", "suffix", "substring", "regex"] as const;

export const rewrite: Plugin = {
  name: "rewrite",
  setup(directives) {
    const rules = directives.map(ruleOf);
    return { handler: (next) => rewritten(next, rules) };
  },
};

function ruleOf(directive: Directive): Rule {
  const lines = (directive.body ?? []).flatMap((line): Argument[] => [{ text: line.name, place: line.place }, ...line.args]);
  const words = [...directive.args, ...lines];
  const [first] = words;
  const mode = first?.text === "continue" || first?.text === "stop" ? first.text : undefined;
  const [field, ...rest] = mode ? words.slice(1) : words;
  if (!field)
    throw new CorefileError(directive.place, "rewrite has no rule", "write it like: rewrite name old.example.org new.example.org");
  if (field.text === "edns0" || field.text === "cname")
    throw new CorefileError(field.place, `rewrite ${field.text} is not here`, `there are ${FIELDS.join(", ")}`);
  const cursor = new Words(rest, directive);
  const apply = READ[choice(field, FIELDS)](cursor);
  cursor.end();
  return { mode: mode ?? "stop", apply };
}

class Words {
  readonly #words: readonly Argument[];
  readonly #directive: Directive;
  #at = 0;

  constructor(words: readonly Argument[], directive: Directive) {
    this.#words = words;
    this.#directive = directive;
  }

  get left(): number {
    return this.#words.length - this.#at;
  }

  next(what: string): Argument {
    const word = this.#words[this.#at++];
    if (!word) throw new CorefileError(this.#words.at(-1)?.place ?? this.#directive.place, `${what} is missing in this rule`);
    return word;
  }

  takes(text: string): boolean {
    if (this.#words[this.#at]?.text !== text) return false;
    this.#at++;
    return true;
  }

  end(): void {
    const extra = this.#words[this.#at];
    if (extra) throw new CorefileError(extra.place, `"${extra.text}" is too much in this rule`);
  }

  /** How names are matched, where it is said: `more` words must follow it. */
  match(more: number): (typeof MATCHES)[number] {
    const word = this.#words[this.#at];
    const known = MATCHES.find((each) => each === word?.text.toLowerCase());
    if (known === undefined || this.left < more + 1) return "exact";
    this.#at++;
    return known;
  }
}

const READ: { readonly [F in (typeof FIELDS)[number]]: (words: Words) => Rule["apply"] } = {
  name: (words) => {
    const kind = words.match(2);
    const from = words.next("what to replace");
    const to = words.next("what to put there");
    return nameRule(matchOf(kind, from, to), answersOf(words));
  },
  type: (words) => {
    const [from, to] = [typeOf(words.next("the type to replace")), typeOf(words.next("the type to put there"))];
    return (query) => (query.type === from ? { changes: { type: to }, onRecord: [] } : undefined);
  },
  class: (words) => {
    const [from, to] = [classOf(words.next("the class to replace")), classOf(words.next("the class to put there"))];
    return (query) => (query.class === from ? { changes: { class: to }, onRecord: [] } : undefined);
  },
  ttl: (words) => {
    const kind = words.match(2);
    const takes = readMatch(matchOf(kind, words.next("a name")));
    const [least, most] = boundsOf(words.next("the TTL"));
    return (query) =>
      takes(query.name) === undefined
        ? undefined
        : { changes: {}, onRecord: [(record) => ({ ...record, ttl: Math.min(most, Math.max(least, record.ttl)) })] };
  },
  rcode: (words) => {
    const kind = words.match(3);
    const takes = readMatch(matchOf(kind, words.next("a name")));
    const [from, to] = [rcodeOf(words.next("the response code to replace")), rcodeOf(words.next("the one to put there"))];
    return (query) => (takes(query.name) === undefined ? undefined : { changes: {}, onRecord: [], rcode: { from, to } });
  },
};

/** `to` may be left out where the name is only matched. */
function matchOf(kind: (typeof MATCHES)[number], from: Argument, to?: Argument): NameMatch {
  if (kind === "regex") {
    const expression = pattern(from);
    const groups = new RegExp(`${expression.source}|`).exec("")?.length ?? 1;
    const used = [...(to?.text ?? "").matchAll(/\{(\d+)\}/g)].map(([, number]) => Number(number));
    if (used.some((number) => number >= groups))
      throw new CorefileError((to ?? from).place, `"${to?.text}" names a group that "${from.text}" has not`);
    return { kind, from: expression, to: to?.text.toLowerCase() ?? "" };
  }
  const whole = kind === "exact" || kind === "suffix";
  const dotted = (text: string) => (whole && !text.endsWith(".") ? `${text}.` : text).toLowerCase();
  if (kind === "exact" && toName(from.text) === undefined) throw new CorefileError(from.place, `"${from.text}" is no name`);
  return { kind, from: dotted(from.text), to: dotted(to?.text ?? "") };
}

/** answer auto, answer name FROM TO, answer value FROM TO; several may follow one another. */
function answersOf(words: Words): { readonly auto: boolean; readonly rewriters: readonly Rewriter[] } {
  let auto = false;
  const rewriters: Rewriter[] = [];
  let named: Argument | undefined;
  while (words.left > 0) {
    const word = words.next("answer");
    const kind = word.text === "answer" ? words.next("auto, name or value") : word;
    const which = choice(kind, ["auto", "name", "value"]);
    if (which === "auto") auto = true;
    else {
      if (which === "name") named = kind;
      const match = matchOf("regex", words.next("a pattern"), words.next("what to put there"));
      rewriters.push(replaced(which, match));
    }
  }
  if (auto && named) throw new CorefileError(named.place, "answer auto and answer name exclude each other");
  return { auto, rewriters };
}

function typeOf({ text, place }: Argument): number {
  const code = typeCode(text);
  if (code === undefined) throw new CorefileError(place, `"${text}" is no record type`, "write it like A, AAAA or ANY");
  return code;
}

function classOf({ text, place }: Argument): number {
  const code = (CLASS as Readonly<Record<string, number>>)[text.toUpperCase()];
  if (code === undefined) throw new CorefileError(place, `"${text}" is no class`, "it is IN, CH or HS");
  return code;
}

function rcodeOf({ text, place }: Argument): number {
  const code = /^\d+$/.test(text) ? integer({ text, place }, 0, 4095) : (RCODE as Readonly<Record<string, number>>)[text.toUpperCase()];
  if (code === undefined) throw new CorefileError(place, `"${text}" is no response code`, `there are ${Object.keys(RCODE).join(", ")}`);
  return code;
}

/** SECONDS, or MIN-MAX with either left out. */
function boundsOf({ text, place }: Argument): readonly [number, number] {
  const [, low = "", dash, high = ""] = /^(\d*)(-?)(\d*)$/.exec(text) ?? [];
  const most = 2 ** 31 - 1;
  const least = low === "" ? 0 : Number(low);
  const limit = dash ? (high === "" ? most : Number(high)) : least;
  if ((low === "" && high === "") || least > limit || limit > most)
    throw new CorefileError(place, `"${text}" is no TTL`, "write it like 30, 30-300, 30- or -300");
  return [least, limit];
}
