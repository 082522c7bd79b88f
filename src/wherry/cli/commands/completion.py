"""``wherry completion``: scripts for shells, which ask ``wherry __complete`` for words"""

from __future__ import annotations

from wherry.cli import index
from wherry.cli.command import Command, exactly
from wherry.cli.errors import CliError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session

_BASH = """\
_wherry() {
    local IFS=$'\\n'
    COMPREPLY=($(wherry __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    [ ${#COMPREPLY[@]} -eq 0 ] && compopt -o default
}
complete -F _wherry wherry
"""
_ZSH = """\
#compdef wherry
_wherry() {
    local -a found
    found=(${(f)"$(wherry __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then compadd -a found; else _files; fi
}
compdef _wherry wherry
"""
_FISH = """\
function __wherry_complete
    wherry __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null
end
complete -c wherry -a '(__wherry_complete)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

# What the arguments of commands name.
_RUNNING = frozenset(("stop", "kill", "pause", "exec", "attach", "top", "restart", "stats"))
_CONTAINERS = frozenset(
    (
        "start",
        "rm",
        "logs",
        "wait",
        "rename",
        "diff",
        "export",
        "commit",
        "port",
        "update",
        "unpause",
        "inspect",
        "cp",
        *_RUNNING,
    )
)
_IMAGES = frozenset(
    ("run", "create", "rmi", "history", "save", "tag", "push", "insert", "rm", "inspect", "diff")
)


def _completion(session: Session, options: Options, arguments: list[str]) -> int:
    script = _SCRIPTS.get(arguments[0])
    if script is None:
        raise CliError(
            f"wherry completion: no script for {arguments[0]}: known are {', '.join(_SCRIPTS)}"
        )
    session.write(script)
    return 0


def complete(session: Session, words: list[str]) -> list[str]:
    """Words that may stand in place of the last of ``words``."""
    *before, current = words or [""]
    bare = [word for word in before if not word.startswith("-")]
    if not bare:
        names = [name for name in index.TABLE if " " not in name] + list(index.GROUP_NAMES)
        return _starting(names, current)
    if bare[0] in index.GROUP_NAMES and len(bare) == 1:
        return _starting([name for name, _ in index.members(bare[0])], current)
    group = bare[0] if bare[0] in index.GROUP_NAMES else ""
    path = index.resolve(" ".join(bare[:2]) if group else bare[0])
    if path is None:
        return []
    if current.startswith("-"):
        flags = [f"--{flag.name}" for flag in index.load(path).flags.flags if not flag.hidden]
        return _starting(flags, current)
    return _starting(_objects(session, group, path.rpartition(" ")[2]), current)


def _starting(words: list[str], beginning: str) -> list[str]:
    return sorted({word for word in words if word.startswith(beginning)})


def _objects(session: Session, group: str, verb: str) -> list[str]:
    """Names of what a command works on."""
    client = session.client
    if group == "network":
        return [network["Name"] for network in client.call("GET", "/networks")]
    if group == "volume":
        return [v["Name"] for v in client.call("GET", "/volumes").get("Volumes") or []]
    if group == "context":
        from wherry.cli.contexts import ContextStore

        return ["default", *(c.name for c in ContextStore(session.config.directory).list())]
    names: list[str] = []
    if verb in _CONTAINERS and group != "image":
        query = {"all": None if verb in _RUNNING else True}
        for entry in client.call("GET", "/containers/json", query=query):
            names += [name.removeprefix("/") for name in entry["Names"]]
    if verb in _IMAGES and group != "container" and (verb != "rm" or group == "image"):
        for entry in client.call("GET", "/images/json"):
            tags = entry.get("RepoTags") or []
            names += tags + [tag.removesuffix(":latest") for tag in tags]
    return names


COMPLETION = Command("completion bash|zsh|fish", _completion, arguments=exactly(1))
