// fairlead completion: scripts that complete commands and options in a shell.
import type { Command } from "commander";
import { COMMANDS } from "../commands.ts";

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
      process.stdout.write(make());
    });
}

const words = (group?: string) => {
  const names = COMMANDS.map((entry) => entry.name.split(" "));
  return [
    ...new Set(
      names
        .filter((parts) => (group === undefined ? true : parts.length > 1 && parts[0] === group))
        .map((parts) => (group === undefined ? parts[0] : parts[1])),
    ),
  ].join(" ");
};

const SHELLS: Readonly<Record<string, () => string>> = {
  bash: () => `_fairlead() {
  local word=\${COMP_WORDS[COMP_CWORD]}
  case \${COMP_CWORD} in
    1) COMPREPLY=($(compgen -W "${words()}" -- "$word")) ;;
    2) [ "\${COMP_WORDS[1]}" = lab ] && COMPREPLY=($(compgen -W "${words("lab")}" -- "$word")) || COMPREPLY=($(compgen -f -- "$word")) ;;
    *) COMPREPLY=($(compgen -f -- "$word")) ;;
  esac
}
complete -F _fairlead fairlead
`,
  zsh: () => `#compdef fairlead
_fairlead() {
  if (( CURRENT == 2 )); then compadd ${words()}
  elif (( CURRENT == 3 )) && [[ $words[2] == lab ]]; then compadd ${words("lab")}
  else _files; fi
}
compdef _fairlead fairlead
`,
  fish: () =>
    COMMANDS.map(({ name, summary }) => {
      const [first = "", second] = name.split(" ");
      const text = summary.replaceAll("'", "\\'");
      return second === undefined
        ? `complete -c fairlead -n __fish_use_subcommand -f -a ${first} -d '${text}'\n`
        : `complete -c fairlead -n '__fish_seen_subcommand_from ${first}' -f -a ${second} -d '${text}'\n`;
    })
      .concat("complete -c fairlead -n __fish_use_subcommand -f -a lab -d 'labs'\n")
      .join(""),
};
