// Names of DSCP values, as nft prints them (IANA's registry; be, df and cs0 are all 0).

const NAMES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    ...{ be: 0, df: 0, lephb: 1, va: 44, ef: 46 },
    ...Object.fromEntries(Array.from({ length: 8 }, (_, class_) => [`cs${class_}`, 8 * class_])),
    ...Object.fromEntries([1, 2, 3, 4].flatMap((class_) => [1, 2, 3].map((drop) => [`af${class_}${drop}`, 8 * class_ + 2 * drop]))),
  }),
);

/** The number, from 0 to 63, of a name in any case, or of a number as text; undefined for anything else. */
export function dscpNumber(text: string): number | undefined {
  const named = NAMES.get(text.toLowerCase());
  if (named !== undefined) return named;
  const number = /^(0x[0-9a-f]{1,2}|\d{1,2})$/i.test(text) ? Number(text) : 64;
  return number < 64 ? number : undefined;
}
