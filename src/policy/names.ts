// DNS names as peers: which addresses a name, or all names of a pattern, had in answers to pods.
import { formatAddress, tryParseAddress } from "../base/index.ts";
import type { NameBook } from "./rules.ts";

/**
 * Addresses that names had in answers to a node's pods, by name in lower case without the last dot. Plain data; whoever
 * keeps it takes out what is too old.
 */
export type DnsAnswers = Readonly<Record<string, readonly string[]>>;

const books = new WeakMap<DnsAnswers, NameBook>();

/** The book over a node's answers; the same for the same answers. */
export function nameBook(answers: DnsAnswers): NameBook {
  let book = books.get(answers);
  if (!book) {
    const found = new Map<string, readonly string[]>();
    book = {
      addressesOf: (pattern) => {
        let addresses = found.get(pattern);
        if (!addresses) {
          addresses = look(answers, pattern);
          found.set(pattern, addresses);
        }
        return addresses;
      },
    };
    books.set(answers, book);
  }
  return book;
}

/** What any of the books knows. */
export function joinBooks(all: readonly NameBook[]): NameBook {
  return { addressesOf: (pattern) => [...new Set(all.flatMap((book) => book.addressesOf(pattern)))] };
}

/** Nobody has been answered anything. */
export const NO_NAMES: NameBook = nameBook({});

function look(answers: DnsAnswers, pattern: string): readonly string[] {
  const names = pattern.includes("*") ? Object.keys(answers).filter((name) => nameMatches(pattern, name)) : [pattern];
  const addresses = names.flatMap((name) => (Object.hasOwn(answers, name) ? (answers[name] ?? []) : []));
  return [...new Set(addresses.flatMap(canonical))].sort();
}

function canonical(text: string): string[] {
  const address = tryParseAddress(text);
  return address ? [formatAddress(address)] : [];
}

/**
 * Whether a name is one of a pattern's: "*" stands for any part of one label, alone for every name, and as "**." at the
 * beginning for one or more labels. Both in lower case without the last dot.
 */
export function nameMatches(pattern: string, name: string): boolean {
  if (pattern === "*") return true;
  if (pattern.startsWith("**.")) {
    const labels = name.split(".");
    return labels.slice(1).some((_, cut) => nameMatches(pattern.slice(3), labels.slice(cut + 1).join(".")));
  }
  const [wanted, given] = [pattern.split("."), name.split(".")];
  return wanted.length === given.length && wanted.every((label, at) => labelMatches(label, given[at] ?? ""));
}

/** Without backtracking: each piece is found as early as it can be. */
function labelMatches(pattern: string, label: string): boolean {
  const pieces = pattern.split("*");
  const [first = "", last = ""] = [pieces[0], pieces.at(-1)];
  if (pieces.length === 1) return pattern === label;
  if (!label.startsWith(first) || !label.endsWith(last) || label.length < first.length + last.length) return false;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = label.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= label.length - last.length;
}
