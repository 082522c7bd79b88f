"""Every command by its full name: where it is defined and what it does in a few words.

Modules are imported when their command runs, so the index is all that ``wherry --help`` needs.
A row is (name, module:attribute below ``wherry.cli.commands``, summary).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.command import Command

COMMON = (
    ("run", "run:RUN", "Create and run a new container from an image"),
    ("exec", "exec:EXEC", "Execute a command in a running container"),
    ("ps", "ps:PS", "List containers"),
    ("build", "build:BUILD", "Build an image from a Dockerfile"),
    ("pull", "pull:PULL", "Download an image from a registry"),
    ("push", "push:PUSH", "Upload an image to a registry"),
    ("images", "images:IMAGES", "List images"),
    ("login", "login:LOGIN", "Authenticate to a registry"),
    ("logout", "login:LOGOUT", "Log out from a registry"),
    ("search", "search:SEARCH", "Search a hub for images"),
    ("version", "version:VERSION", "Show the versions of client and engine"),
    ("info", "info:INFO", "Display system-wide information"),
)

PLAIN = (
    ("attach", "attach:ATTACH", "Attach this terminal to a running container"),
    ("commit", "commit:COMMIT", "Create a new image from a container's changes"),
    ("cp", "copy:CP", "Copy files between a container and the local file system"),
    ("create", "run:CREATE", "Create a new container"),
    ("diff", "diff:DIFF", "Show what a container changed in its file system"),
    ("events", "events:EVENTS", "Get real time events from the engine"),
    ("export", "export:EXPORT", "Export a container's file system as a tar archive"),
    ("history", "history:HISTORY", "Show the history of an image"),
    ("import", "import_:IMPORT", "Make an image from the contents of a tarball"),
    ("insert", "insert:INSERT", "Add a file from a URL to an image, as a layer of its own"),
    ("inspect", "inspect:INSPECT", "Return low-level information on objects"),
    ("kill", "kill:KILL", "Kill one or more running containers"),
    ("load", "load:LOAD", "Load an image from a tar archive or standard input"),
    ("logs", "logs:LOGS", "Fetch the logs of a container"),
    ("pause", "pause:PAUSE", "Pause all processes within one or more containers"),
    ("port", "port:PORT", "List port mappings or a specific mapping for the container"),
    ("rename", "rename:RENAME", "Rename a container"),
    ("restart", "restart:RESTART", "Restart one or more containers"),
    ("rm", "rm:RM", "Remove one or more containers"),
    ("rmi", "rmi:RMI", "Remove one or more images"),
    ("save", "save:SAVE", "Save one or more images to a tar archive"),
    ("start", "start:START", "Start one or more stopped containers"),
    ("stats", "stats:STATS", "Display a live stream of containers' resource usage"),
    ("stop", "stop:STOP", "Stop one or more running containers"),
    ("tag", "tag:TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    ("top", "top:TOP", "Display the running processes of a container"),
    ("unpause", "pause:UNPAUSE", "Unpause all processes within one or more containers"),
    ("update", "update:UPDATE", "Update configuration of one or more containers"),
    ("wait", "wait:WAIT", "Block until containers stop, then print their exit codes"),
)

SERVERS = (
    ("daemon", "servers:DAEMON", "Run the engine"),
    ("hub", "servers:HUB", "Run a hub: registry, search index and web site"),
    ("completion", "completion:COMPLETION", "Print a completion script for a shell"),
)

GROUPS = (
    ("builder", "Manage builds"),
    ("container", "Manage containers"),
    ("context", "Manage contexts"),
    ("image", "Manage images"),
    ("manifest", "Manage image manifests and manifest lists"),
    ("network", "Manage networks"),
    ("system", "Manage the engine"),
    ("volume", "Manage volumes"),
)

_SUB_COMMANDS = (
    ("builder build", "build:BUILD", "Build an image from a Dockerfile"),
    ("builder prune", "prune:BUILDER", "Remove build cache"),
    ("container attach", "attach:ATTACH", "Attach this terminal to a running container"),
    ("container commit", "commit:COMMIT", "Create a new image from a container's changes"),
    ("container cp", "copy:CP", "Copy files between a container and the local file system"),
    ("container create", "run:CREATE", "Create a new container"),
    ("container diff", "diff:DIFF", "Show what a container changed in its file system"),
    ("container exec", "exec:EXEC", "Execute a command in a running container"),
    ("container export", "export:EXPORT", "Export a container's file system as a tar archive"),
    ("container inspect", "inspect:CONTAINER", "Display detailed information on containers"),
    ("container kill", "kill:KILL", "Kill one or more running containers"),
    ("container logs", "logs:LOGS", "Fetch the logs of a container"),
    ("container ls", "ps:LS", "List containers"),
    ("container pause", "pause:PAUSE", "Pause all processes within one or more containers"),
    ("container port", "port:PORT", "List port mappings or a specific mapping"),
    ("container prune", "prune:CONTAINER", "Remove all stopped containers"),
    ("container rename", "rename:RENAME", "Rename a container"),
    ("container restart", "restart:RESTART", "Restart one or more containers"),
    ("container rm", "rm:RM", "Remove one or more containers"),
    ("container run", "run:RUN", "Create and run a new container from an image"),
    ("container start", "start:START", "Start one or more stopped containers"),
    ("container stats", "stats:STATS", "Display a live stream of containers' resource usage"),
    ("container stop", "stop:STOP", "Stop one or more running containers"),
    ("container top", "top:TOP", "Display the running processes of a container"),
    ("container unpause", "pause:UNPAUSE", "Unpause all processes within containers"),
    ("container update", "update:UPDATE", "Update configuration of one or more containers"),
    ("container wait", "wait:WAIT", "Block until containers stop, then print their exit codes"),
    ("context create", "context:CREATE", "Create a context"),
    ("context export", "context_move:EXPORT", "Export a context to a tar archive or output"),
    ("context import", "context_move:IMPORT", "Import a context from a tar or zip file"),
    ("context inspect", "context:INSPECT", "Display detailed information on contexts"),
    ("context ls", "context:LS", "List contexts"),
    ("context rm", "context:RM", "Remove one or more contexts"),
    ("context show", "context:SHOW", "Print the name of the current context"),
    ("context update", "context:UPDATE", "Update a context"),
    ("context use", "context:USE", "Set the current context"),
    ("image build", "build:BUILD", "Build an image from a Dockerfile"),
    ("image diff", "image_extras:DIFF", "Show the files that differ between two images"),
    ("image history", "history:HISTORY", "Show the history of an image"),
    ("image import", "import_:IMPORT", "Make an image from the contents of a tarball"),
    ("image inspect", "inspect:IMAGE", "Display detailed information on images"),
    ("image load", "load:LOAD", "Load an image from a tar archive or standard input"),
    ("image ls", "images:LS", "List images"),
    ("image prune", "prune:IMAGE", "Remove unused images"),
    ("image pull", "pull:PULL", "Download an image from a registry"),
    ("image push", "push:PUSH", "Upload an image to a registry"),
    ("image rm", "rmi:RM", "Remove one or more images"),
    ("image rollback", "image_extras:ROLLBACK", "Let a tag point to what it pointed to before"),
    ("image save", "save:SAVE", "Save one or more images to a tar archive"),
    ("image tag", "tag:TAG", "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE"),
    ("manifest annotate", "manifest:ANNOTATE", "Add information to a local image manifest"),
    ("manifest create", "manifest:CREATE", "Create a local manifest list"),
    ("manifest inspect", "manifest:INSPECT", "Display an image manifest or manifest list"),
    ("manifest push", "manifest:PUSH", "Push a manifest list to a registry"),
    ("manifest rm", "manifest:RM", "Delete manifest lists from local storage"),
    ("network connect", "network:CONNECT", "Connect a container to a network"),
    ("network create", "network_create:CREATE", "Create a network"),
    ("network disconnect", "network:DISCONNECT", "Disconnect a container from a network"),
    ("network inspect", "inspect:NETWORK", "Display detailed information on networks"),
    ("network ls", "network_ls:LS", "List networks"),
    ("network prune", "prune:NETWORK", "Remove all unused networks"),
    ("network rm", "network:RM", "Remove one or more networks"),
    ("network rules", "network_rules:RULES", "Print and explain the engine's firewall rules"),
    ("system check", "system_check:CHECK", "Verify every stored blob, layer, image and name"),
    ("system df", "system_df:DF", "Show disk usage"),
    ("system dial-stdio", "dial_stdio:DIAL_STDIO", "Proxy standard input and output to the engine"),
    ("system events", "events:EVENTS", "Get real time events from the engine"),
    ("system info", "info:INFO", "Display system-wide information"),
    ("system prune", "prune:SYSTEM", "Remove unused data"),
    ("volume create", "volume:CREATE", "Create a volume"),
    ("volume inspect", "inspect:VOLUME", "Display detailed information on volumes"),
    ("volume ls", "volume_ls:LS", "List volumes"),
    ("volume prune", "prune:VOLUME", "Remove unused local volumes"),
    ("volume rm", "volume:RM", "Remove one or more volumes"),
    ("volume update", "volume:UPDATE", "Update a volume (cluster volumes only)"),
)

# Other words for a command, and the pairs that one implementation serves (shown as "Aliases:").
_ALIASES = {
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "context list": "context ls",
    "context remove": "context rm",
}
_SAME = {
    "ps": ("container ls", "container list", "container ps", "ps"),
    "images": ("image ls", "image list", "images"),
    "rm": ("container rm", "container remove", "rm"),
    "rmi": ("image rm", "image remove", "rmi"),
    "build": ("image build", "build", "builder build"),
    "network ls": ("network ls", "network list"),
    "network rm": ("network rm", "network remove"),
    "volume ls": ("volume ls", "volume list"),
    "volume rm": ("volume rm", "volume remove"),
    "context ls": ("context ls", "context list"),
    "context rm": ("context rm", "context remove"),
}

NOT_OFFERED = {
    "swarm": "Swarm clusters",
    "service": "Swarm services",
    "stack": "Swarm stacks",
    "node": "Swarm nodes",
    "secret": "Swarm secrets",
    "config": "Swarm configs",
    "plugin": "engine plugins",
    "trust": "content trust",
    "checkpoint": "checkpoints",
}

TABLE = {name: (place, text) for name, place, text in (*COMMON, *PLAIN, *SERVERS, *_SUB_COMMANDS)}
GROUP_NAMES = frozenset(name for name, _ in GROUPS)


def resolve(name: str) -> str | None:
    """The name under which ``name`` stands in the table, or None."""
    name = _ALIASES.get(name, name)
    return name if name in TABLE else None


def load(path: str) -> Command:
    """Import the command of that name in the index."""
    from importlib import import_module

    module, _, attribute = TABLE[path][0].partition(":")
    command: Command = getattr(import_module(f"wherry.cli.commands.{module}"), attribute)
    return command


def aliases(name: str) -> tuple[str, ...]:
    """All the names of the command, for its help text; empty when there is one only."""
    for names in _SAME.values():
        if name in names:
            return names
    place = TABLE[name][0]
    same = tuple(other for other, (where, _) in TABLE.items() if where == place)
    if len(same) < 2:
        return ()
    return tuple(sorted(same, key=lambda other: " " not in other))


def members(group: str) -> list[tuple[str, str]]:
    """The commands of a group with their summaries, in order."""
    prefix = f"{group} "
    return sorted(
        (name.removeprefix(prefix), text)
        for name, (_, text) in TABLE.items()
        if name.startswith(prefix)
    )
