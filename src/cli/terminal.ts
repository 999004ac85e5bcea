// What a person sees: colours where they help, progress while waiting, nothing of it where output is not a terminal.
import pc from "picocolors";

/** Colours for output; off where picocolors finds no terminal, or NO_COLOR is set. */
export const paint = {
  good: pc.green,
  bad: pc.red,
  warn: pc.yellow,
  dim: pc.dim,
  bold: pc.bold,
  name: pc.cyan,
};

export interface Progress {
  update(text: string): void;
  /** Ends the line: with a tick and a text, or without a trace. */
  done(text?: string): void;
}

/** A line on stderr that says what is going on; plain lines where stderr is no terminal. */
export function startProgress(first: string): Progress {
  const terminal = process.stderr.isTTY === true;
  const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
  let text = first;
  let frame = 0;
  let shown = "";
  const draw = () => process.stderr.write(`\r\u001b[2K${pc.cyan(frames[frame++ % frames.length] ?? "")} ${text}`);
  const timer = terminal ? setInterval(draw, 80) : undefined;
  timer?.unref();
  return {
    update(next) {
      text = next;
      if (terminal) draw();
      else if (process.env.FAIRLEAD_VERBOSE && next !== shown) process.stderr.write(`${next}\n`);
      shown = next;
    },
    done(last) {
      clearInterval(timer);
      if (terminal) process.stderr.write("\r\u001b[2K");
      if (last !== undefined) process.stderr.write(`${pc.green("✓")} ${last}\n`);
    },
  };
}

/** Prints data for machines. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined)}\n`);
}
