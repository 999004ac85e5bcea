// fairlead completion: scripts that complete commands and options in a shell.
import type { Command } from "commander";
import { COMMANDS, GROUPS } from "../commands.ts";

export function command(command: Command): void {
  command
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText(
      "after",
      "\nExamples:\n  source <(fairlead completion bash)\n  fairlead completion fish > ~/.config/fish/completions/fairlead.fish\n",
    )
    .action((shell: string) => {
      const make = SHELLS[shell];
      if (!make) return command.error(`error: no completion for "${shell}": bash, zsh and fish have one`);
      process.stdout.write(make(optionsOf(command.parent)));
    });
}

/** "lab up" → "--nodes --mtu …", of every command. */
function optionsOf(program: Command | null): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const visit = (command: Command, path: string) => {
    const long = command.options.flatMap((option) => option.long ?? []);
    if (path !== "") found.set(path, [...long, "--help"].join(" "));
    for (const inner of command.commands) visit(inner, `${path} ${inner.name()}`.trim());
  };
  if (program) visit(program, "");
  return found;
}

/** First words → the second words that follow them. */
const BY_FIRST = Map.groupBy(
  COMMANDS.map(({ name }) => name.split(" ")),
  ([first = ""]) => first,
);
const firstWords = [...BY_FIRST.keys()].join(" ");
const secondWords = [...BY_FIRST].flatMap(([first, names]) => {
  const words = names.flatMap(([, second]) => second ?? []).join(" ");
  return words === "" ? [] : [{ first, words }];
});

/** "lab up" before "lab": the first pattern that fits is taken. */
const longestFirst = ([a]: [string, string], [b]: [string, string]) => b.length - a.length;

const SHELLS: Readonly<Record<string, (options: ReadonlyMap<string, string>) => string>> = {
  bash: (options) => `_fairlead() {
  local word=\${COMP_WORDS[COMP_CWORD]}
  if [[ $word == -* ]]; then
    case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
${[...options]
  .sort(longestFirst)
  .map(([name, list]) => `      "${name}"${name.includes(" ") ? "" : '" "*'}) COMPREPLY=($(compgen -W "${list}" -- "$word")) ;;`)
  .join("\n")}
    esac
    return
  fi
  case \${COMP_CWORD} in
    1) COMPREPLY=($(compgen -W "${firstWords}" -- "$word")) ;;
    2)
      case "\${COMP_WORDS[1]}" in
${secondWords.map(({ first, words }) => `        ${first}) COMPREPLY=($(compgen -W "${words}" -- "$word")) ;;`).join("\n")}
        *) COMPREPLY=($(compgen -f -- "$word")) ;;
      esac
      ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -F _fairlead fairlead
`,
  zsh: (options) => `#compdef fairlead
_fairlead() {
  if [[ $PREFIX == -* ]]; then
    case "$words[2] $words[3]" in
${[...options]
  .sort(longestFirst)
  .map(([name, list]) => `      "${name}"${name.includes(" ") ? "" : '" "*'}) compadd -- ${list} ;;`)
  .join("\n")}
    esac
  elif (( CURRENT == 2 )); then compadd ${firstWords}
${secondWords.map(({ first, words }) => `  elif (( CURRENT == 3 )) && [[ $words[2] == ${first} ]]; then compadd ${words}`).join("\n")}
  else _files; fi
}
compdef _fairlead fairlead
`,
  fish: (options) =>
    COMMANDS.map(({ name, summary }) => {
      const [first = "", second] = name.split(" ");
      const text = summary.replaceAll("'", "\\'");
      return second === undefined
        ? `complete -c fairlead -n __fish_use_subcommand -f -a ${first} -d '${text}'\n`
        : `complete -c fairlead -n '__fish_seen_subcommand_from ${first}' -f -a ${second} -d '${text}'\n`;
    })
      .concat(
        Object.entries(GROUPS).map(
          ([first, text]) => `complete -c fairlead -n __fish_use_subcommand -f -a ${first} -d '${text.replaceAll("'", "\\'")}'\n`,
        ),
      )
      .concat(
        [...options].map(([name, list]) => {
          const seen = name
            .split(" ")
            .map((word) => `__fish_seen_subcommand_from ${word}`)
            .join("; and ");
          return `complete -c fairlead -n '${seen}' ${list.replaceAll("--", "-l ")}\n`;
        }),
      )
      .join(""),
};
