// Results of truth tables as a person reads them, and as CI does: JUnit's XML, TAP.
import { paint } from "./terminal.ts";

export interface CaseResult {
  readonly name: string;
  readonly passed: boolean;
  readonly says: string;
}

export interface Suite {
  readonly name: string;
  readonly cases: readonly CaseResult[];
}

/** Failures whole, successes as a number. */
export function reportText(suites: readonly Suite[]): string {
  return suites
    .map(({ name, cases }) => {
      const failed = cases.filter(({ passed }) => !passed);
      const lines = failed.map((each) => `  ${paint.bad("✗")} ${each.name}\n    ${paint.dim(each.says)}`);
      const sum =
        failed.length === 0
          ? paint.good(`all ${cases.length} as expected`)
          : paint.bad(`${failed.length} of ${cases.length} not as expected`);
      return [`${paint.bold(name)}: ${sum}`, ...lines].join("\n");
    })
    .join("\n");
}

/** JUnit's XML, as CI systems read it. */
export function reportJunit(suites: readonly Suite[]): string {
  const all = suites.flatMap(({ cases }) => cases);
  const body = suites.map(({ name, cases }) => {
    const tests = cases.map(
      (each) =>
        `    <testcase classname="${xml(name)}" name="${xml(each.name)}" time="0"${each.passed ? "/>" : `>\n      <failure message="${xml(each.says)}"/>\n    </testcase>`}`,
    );
    return `  <testsuite name="${xml(name)}" tests="${cases.length}" failures="${failures(cases)}" errors="0" skipped="0">\n${tests.join("\n")}\n  </testsuite>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites tests="${all.length}" failures="${failures(all)}">\n${body.join("\n")}\n</testsuites>`;
}

/** Test Anything Protocol, version 14. */
export function reportTap(suites: readonly Suite[]): string {
  const all = suites.flatMap(({ name, cases }) => cases.map((each) => ({ ...each, name: `${name}: ${each.name}` })));
  const lines = all.flatMap(({ name, passed, says }, index) => [
    `${passed ? "ok" : "not ok"} ${index + 1} - ${name.replaceAll("#", "\\#")}`,
    ...(passed ? [] : ["  ---", `  message: ${JSON.stringify(says)}`, "  ..."]),
  ]);
  return ["TAP version 14", `1..${all.length}`, ...lines].join("\n");
}

function failures(cases: readonly CaseResult[]): number {
  return cases.filter(({ passed }) => !passed).length;
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" };

/** Text for an attribute; what XML can't hold (control characters) becomes a question mark. */
function xml(text: string): string {
  return text
    .replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? sign)
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "?");
}
