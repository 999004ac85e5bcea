// Lines over logarithmic axes as SVG: enough for a benchmark's figures, and readable by itself.

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface PlotOptions {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly lines: readonly Line[];
}

const WIDTH = 640;
const HEIGHT = 400;
const LEFT = 70;
const RIGHT = 120;
const TOP = 40;
const BOTTOM = 50;
const COLOURS = ["#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad"];

/** The whole picture. Values must be greater than 0. */
export function plot({ title, x, y, lines }: PlotOptions): string {
  const xs = decades(lines.flatMap(({ points }) => points.map(([value]) => value)));
  const ys = decades(lines.flatMap(({ points }) => points.map(([, value]) => value)));
  const place = (value: number, [low, high]: readonly [number, number], from: number, to: number) =>
    from + ((Math.log10(value) - low) / (high - low)) * (to - from);
  const px = (value: number) => place(value, xs, LEFT, WIDTH - RIGHT).toFixed(1);
  const py = (value: number) => place(value, ys, HEIGHT - BOTTOM, TOP).toFixed(1);
  const text = (at: string, says: string, more = "") =>
    `<text ${at} ${more}>${says.replaceAll("&", "&amp;").replaceAll("<", "&lt;")}</text>`;
  const ticks = ([low, high]: readonly [number, number]) => Array.from({ length: high - low + 1 }, (_, at) => 10 ** (low + at));
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    text(`x="${LEFT}" y="22"`, title, 'font-size="15"'),
    ...ticks(xs).flatMap((value) => [
      `<line x1="${px(value)}" x2="${px(value)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}" stroke="#ddd"/>`,
      text(`x="${px(value)}" y="${HEIGHT - BOTTOM + 18}"`, value.toLocaleString("en"), 'text-anchor="middle"'),
    ]),
    ...ticks(ys).flatMap((value) => [
      `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${py(value)}" y2="${py(value)}" stroke="#ddd"/>`,
      text(
        `x="${LEFT - 6}" y="${Number(py(value)) + 4}"`,
        value.toLocaleString("en", { maximumSignificantDigits: 2 }),
        'text-anchor="end"',
      ),
    ]),
    text(`x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 12}"`, x, 'text-anchor="middle"'),
    text(`x="16" y="${HEIGHT / 2}"`, y, `text-anchor="middle" transform="rotate(-90 16 ${HEIGHT / 2})"`),
    ...lines.flatMap(({ name, points }, index) => {
      const colour = COLOURS[index % COLOURS.length];
      const [lastX = 1, lastY = 1] = points.at(-1) ?? [];
      return [
        `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points.map(([a, b]) => `${px(a)},${py(b)}`).join(" ")}"/>`,
        ...points.map(([a, b]) => `<circle cx="${px(a)}" cy="${py(b)}" r="3" fill="${colour}"/>`),
        text(`x="${Number(px(lastX)) + 8}" y="${Number(py(lastY)) + 4}"`, name, `fill="${colour}"`),
      ];
    }),
    "</svg>",
  ].join("\n")}\n`;
}

/** The powers of ten around all values. */
function decades(values: readonly number[]): readonly [number, number] {
  const logs = values.map(Math.log10);
  const low = Math.floor(Math.min(...logs, 0));
  return [low, Math.max(low + 1, Math.ceil(Math.max(...logs)))];
}
