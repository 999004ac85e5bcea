// Bars as an SVG picture: one per name, with its figure and what it is of the first.

export interface Bar {
  readonly name: string;
  readonly value: number;
  /** The figure in words: "9.6 Gb/s". */
  readonly says: string;
}

const WIDE = 720;
const ROW = 34;
const LEFT = 130;
const RIGHT = 190;
const TOP = 46;

/** A self-contained picture. Values must not be negative. */
export function plotBars(title: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value }) => value), Number.MIN_VALUE);
  const room = WIDE - LEFT - RIGHT;
  const rows = bars.map(({ name, value, says }, i) => {
    const y = TOP + i * ROW;
    const width = Math.max(1, (value / most) * room);
    return [
      `<text x="${LEFT - 10}" y="${y + 16}" text-anchor="end">${escapeText(name)}</text>`,
      `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="22" rx="3" fill="${i === 0 ? "#9aa5b1" : "#2b6cb0"}"/>`,
      `<text x="${(LEFT + width + 8).toFixed(1)}" y="${y + 16}">${escapeText(says)}</text>`,
    ].join("");
  });
  const high = TOP + bars.length * ROW + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDE}" height="${high}" viewBox="0 0 ${WIDE} ${high}" font-family="sans-serif" font-size="14">`,
    `<rect width="100%" height="100%" fill="#fff"/><text x="16" y="26" font-size="16" font-weight="bold">${escapeText(title)}</text>`,
    ...rows,
    "</svg>",
    "",
  ].join("\n");
}

function escapeText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
