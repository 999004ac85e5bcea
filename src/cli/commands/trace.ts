import type { Command } from "commander";
export function command(_c: Command): void {}
