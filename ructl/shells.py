"""The completion scripts of shells: click's, corrected for words with `=`, `:`, `.` and `/`.

bash takes `=` and `:` for ends of words, so that a completion is only what follows the last of them; and after a word
that goes on (`spec.`, `node=`) no shell should add a space.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar, Final

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

_BREAKS: Final = "=:"

_BASH: Final = """\
%(complete_func)s() {
    local IFS=$'\\n' type value completion
    COMPREPLY=()
    for completion in $(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \\
            %(complete_var)s=bash_complete "$1"); do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
        [[ $type == plain && $value == *[./=] ]] && compopt -o nospace
    done
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH: Final = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a response plain open described
    local type key descr
    (( ! $+commands[%(prog_name)s] )) && return 1
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \\
        %(complete_var)s=zsh_complete %(prog_name)s)}")
    for type key descr in ${response}; do
        case $type in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                if [[ $descr != _ ]]; then described+=("$key:$descr")
                elif [[ $key == *[./=] ]]; then open+=("$key")
                else plain+=("$key"); fi ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#open )) && compadd -U -S '' -V unsorted -a open
    (( $#plain )) && compadd -U -V unsorted -a plain
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef %(complete_func)s %(prog_name)s
fi
"""


class _WholeWords(ShellComplete):
    """Completes `--option=value` as one word, as the shell has it; click returns the value alone."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[Any]]:
        found = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if option.startswith("--") and equals:
            for item in found:
                item.value = f"{option}={item.value}"
        return found


class _Bash(_WholeWords, BashComplete):
    """Reads the line itself, for bash has cut it at `=` and `:`."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        if "COMP_LINE" not in os.environ:  # a script that an older version has printed
            return super().get_completion_args()
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() or len(words) < 2 else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Returns the replacement of the word as bash sees it: in quotes, or after the last sign that ends a word."""
        line = os.environ.get("COMP_LINE", "")
        raw = "" if line[-1:].isspace() else (line.split() or [""])[-1]
        breaks = [sign for sign in _BREAKS if sign in os.environ.get("COMP_BREAKS", _BREAKS)]
        cut = 0 if raw[:1] in ("'", '"') else max((raw.rfind(sign) + 1 for sign in breaks), default=0)
        return f"{item.type},{item.value[cut:]}"


class _Zsh(_WholeWords, ZshComplete):
    source_template: ClassVar[str] = _ZSH


class _Fish(_WholeWords, FishComplete):
    source_template: ClassVar[str] = FishComplete.source_template.replace("string split", "string split --max 1")
    """A value may have commas."""


def register() -> None:
    """Lets click answer the scripts of this module."""
    for kind in (_Bash, _Zsh, _Fish):
        add_completion_class(kind)


def script(command: Any, program: str, shell: str) -> str:
    """Returns the script which a shell reads to complete the program's command lines."""
    register()
    kind = get_completion_class(shell)
    assert kind is not None, "click completes for these shells"
    found = kind(command, {}, program, f"_{program.upper()}_COMPLETE")
    return found.source_template % found.source_vars()
