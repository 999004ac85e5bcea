// Tables for terminals: columns aligned by what is seen, colours not counted.

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are escape sequences
const COLOURS = /\u001b\[[0-9;]*m/g;

/** Rows as aligned columns, two spaces apart; trailing blanks cut. Every row has as many cells as the heading. */
export function textTable(heading: readonly string[], rows: readonly (readonly string[])[], decorate: (heading: string) => string = (text) => text): string {
  const widths = heading.map((title, column) => Math.max(width(title), ...rows.map((row) => width(row[column] ?? ""))));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join("  ")
      .trimEnd();
  return [decorate(line(heading)), ...rows.map(line)].join("\n");
}

/** Number of columns that a text takes. */
export function width(text: string): number {
  return [...text.replace(COLOURS, "")].length;
}
