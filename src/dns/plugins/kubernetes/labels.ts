// Label selectors in their text form: `environment in (staging, qa),application=nginx,!legacy`.
import { compileSelector, type LabelSelector } from "../../../resources/index.ts";
import { CorefileError, type Directive } from "../../corefile/index.ts";

type Expression = NonNullable<LabelSelector["matchExpressions"]>[number];

const KEY = "([A-Za-z0-9./_-]+)";

/** The test that a directive's arguments stand for. @throws CorefileError */
export function labelTest(option: Directive): (labels: Readonly<Record<string, string>>) => boolean {
  const text = option.args.map((argument) => argument.text).join(" ");
  const terms = text.split(/,(?![^(]*\))/).map((term) => term.trim());
  const expressions = terms.map((term) => expressionOf(term));
  if (text === "" || expressions.some((each) => each === undefined))
    throw new CorefileError(option.place, `"${text}" is no label selector`, "write it like app=nginx,environment in (staging, qa),!legacy");
  return compileSelector({ matchExpressions: expressions as Expression[] });
}

function expressionOf(term: string): Expression | undefined {
  const [, setKey = "", word, list = ""] = new RegExp(`^${KEY}\\s+(in|notin)\\s*\\(([^()]*)\\)$`).exec(term) ?? [];
  if (word !== undefined) {
    const values = list.split(",").map((value) => value.trim());
    return { key: setKey, operator: word === "in" ? "In" : "NotIn", values };
  }
  const [, key = "", sign, value = ""] = new RegExp(`^${KEY}\\s*(==|=|!=)\\s*([A-Za-z0-9._-]*)$`).exec(term) ?? [];
  if (sign !== undefined) return { key, operator: sign === "!=" ? "NotIn" : "In", values: [value] };
  const [, not, bare] = new RegExp(`^(!?)\\s*${KEY}$`).exec(term) ?? [];
  return bare === undefined ? undefined : { key: bare, operator: not === "!" ? "DoesNotExist" : "Exists" };
}
