"""Containers as objects."""

from __future__ import annotations

from wherry.client.api import quote
from wherry.client.errors import ContainerFailed, NotFoundError
from wherry.client.execs import exec_exit_code
from wherry.client.frames import STDERR, STDOUT, frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from wherry.client.api import ApiClient
    from wherry.client.http import Response


class ExecResult:
    """What a command in a container did: its exit code and its output."""

    __slots__ = ("exit_code", "stderr", "stdout")

    def __init__(self, exit_code: int, stdout: bytes, stderr: bytes) -> None:
        self.exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return f"ExecResult(exit_code={self.exit_code}, stdout={self.stdout!r})"


class Container:
    """One container. ``attributes`` is what the engine said last; ``reload`` asks anew."""

    def __init__(self, api: ApiClient, attributes: dict[str, Any]) -> None:
        self._api = api
        self.attributes = attributes

    def __repr__(self) -> str:
        return f"<Container {self.id[:12]}>"

    @property
    def id(self) -> str:
        """The full id."""
        return str(self.attributes["Id"])

    @property
    def name(self) -> str:
        """The name, without the slash that the API puts before it."""
        if "Name" not in self.attributes:
            self.reload()
        return str(self.attributes["Name"]).removeprefix("/")

    @property
    def status(self) -> str:
        """``created``, ``running``, ``paused``, ``restarting``, ``exited`` or ``dead``."""
        if "State" not in self.attributes or isinstance(self.attributes["State"], str):
            self.reload()
        return str(self.attributes["State"]["Status"])

    def reload(self) -> None:
        """Ask the engine for the current attributes."""
        self.attributes = self._call("GET", "json")

    def start(self) -> None:
        """Start it; a running one stays as it is."""
        self._call("POST", "start")

    def stop(self, timeout: int | None = None, signal: str | None = None) -> None:
        """Ask it to end, and kill it after ``timeout`` seconds."""
        self._call("POST", "stop", t=timeout, signal=signal)

    def restart(self, timeout: int | None = None) -> None:
        """Stop and start it."""
        self._call("POST", "restart", t=timeout)

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal to its first process."""
        self._call("POST", "kill", signal=signal)

    def pause(self) -> None:
        """Freeze its processes."""
        self._call("POST", "pause")

    def unpause(self) -> None:
        """Let its processes go on."""
        self._call("POST", "unpause")

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._call("POST", "rename", name=name)

    def wait(self, condition: str = "not-running") -> int:
        """Block until it ends; returns its exit code."""
        return int(self._call("POST", "wait", condition=condition)["StatusCode"])

    def remove(self, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it, with its anonymous volumes if asked; a running one only by force."""
        self._api.call(
            "DELETE",
            f"/containers/{self.id}",
            query={"force": force or None, "v": volumes or None},
        )

    def logs(
        self,
        *,
        stdout: bool = True,
        stderr: bool = True,
        tail: int | None = None,
        since: float | None = None,
    ) -> bytes:
        """The output so far."""
        query = {"stdout": stdout, "stderr": stderr, "since": since, "tail": tail}
        return b"".join(data for _, data in self._output("logs", query))

    def follow(self, *, tail: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Output as it comes: (1 for stdout or 2 for stderr, bytes), until the container ends."""
        query = {"stdout": True, "stderr": True, "follow": True, "tail": tail}
        return self._output("logs", query)

    def exec(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        user: str = "",
        workdir: str = "",
        stdin: bytes | None = None,
        privileged: bool = False,
    ) -> ExecResult:
        """Run a command in it and wait for its end; ``stdin`` is what the command reads."""
        body = {
            "Cmd": list(command),
            "Env": [f"{name}={value}" for name, value in (environment or {}).items()],
            "User": user,
            "WorkingDir": workdir,
            "Privileged": privileged,
            "AttachStdin": stdin is not None,
            "AttachStdout": True,
            "AttachStderr": True,
        }
        identity = self._api.call("POST", f"/containers/{self.id}/exec", body=body)["Id"]
        connection = self._api.hijack(f"/exec/{identity}/start", body={"Detach": False})
        try:
            if stdin is not None:
                connection.write(stdin)
                connection.close_write()
            output: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
            for stream, data in frames(connection.read_some):
                output.setdefault(stream, []).append(data)
        finally:
            connection.close()
        code = exec_exit_code(self._api, identity)
        return ExecResult(code, b"".join(output[STDOUT]), b"".join(output[STDERR]))

    def stats(self) -> dict[str, Any]:
        """One sample of its use of resources."""
        sample: dict[str, Any] = self._call("GET", "stats", stream=False)
        return sample

    def top(self) -> dict[str, Any]:
        """Its processes: ``Titles`` and ``Processes``."""
        processes: dict[str, Any] = self._call("GET", "top")
        return processes

    def changes(self) -> list[dict[str, Any]]:
        """Paths that differ from the image: ``Kind`` 0 changed, 1 added, 2 removed."""
        return self._call("GET", "changes") or []

    def get_archive(self, path: str) -> Response:
        """A file or directory as a tar stream; iterate over the answer."""
        return self._api.request("GET", f"/containers/{self.id}/archive", query={"path": path})

    def put_archive(self, path: str, tar: bytes) -> None:
        """Unpack a tar archive at a directory."""
        self._api.call_raw(
            "PUT",
            f"/containers/{self.id}/archive",
            query={"path": path},
            body=tar,
            headers={"Content-Type": "application/x-tar"},
        )

    def commit(self, repository: str = "", tag: str = "", *, message: str = "") -> str:
        """Make an image of its files; returns the image's id."""
        query = {"container": self.id, "repo": repository, "tag": tag, "comment": message}
        return str(self._api.call("POST", "/commit", query=query)["Id"])

    def _call(self, method: str, action: str, **query: Any) -> Any:
        return self._api.call(method, f"/containers/{self.id}/{action}", query=query)

    def _output(self, action: str, query: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
        response = self._api.request("GET", f"/containers/{self.id}/{action}", query=query)
        if "multiplexed" in response.headers.get("content-type", ""):
            yield from frames(response.read_some)
            return
        if "Config" not in self.attributes:
            self.reload()
        if self.attributes["Config"]["Tty"]:
            for data in response:
                yield STDOUT, data
        else:
            yield from frames(response.read_some)


class Containers:
    """All containers of an engine."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def create(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        name: str | None = None,
        platform: str | None = None,
        environment: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        ports: Mapping[str, int | str] | None = None,
        volumes: Sequence[str] = (),
        network: str = "",
        user: str = "",
        workdir: str = "",
        stdin: bool = False,
        host: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> Container:
        """Create a container; the image must be there.

        ``ports`` maps container ports (``80/tcp``) to those of the host, ``volumes`` are in the
        form of ``-v``. ``host`` and further keywords are fields of the API's HostConfig and
        ContainerConfig under the API's names (``host={"Memory": 64 << 20}, Hostname="x"``).
        """
        bindings = {port: [{"HostPort": str(to)}] for port, to in (ports or {}).items()}
        body: dict[str, Any] = {
            "Image": image,
            "Cmd": list(command) if command is not None else None,
            "Env": [f"{key}={value}" for key, value in (environment or {}).items()],
            "Labels": dict(labels or {}),
            "User": user,
            "WorkingDir": workdir,
            "ExposedPorts": {port: {} for port in bindings},
            "OpenStdin": stdin,
            "StdinOnce": stdin,
            "AttachStdin": stdin,
            "AttachStdout": True,
            "AttachStderr": True,
            **config,
            "HostConfig": {
                "Binds": list(volumes),
                "PortBindings": bindings,
                "NetworkMode": network or "default",
                **(host or {}),
            },
        }
        query = {"name": name, "platform": platform}
        answer = self._api.call("POST", "/containers/create", query=query, body=body)
        return Container(self._api, {"Id": answer["Id"]})

    def run(
        self,
        image: str,
        command: Sequence[str] | None = None,
        *,
        detach: bool = False,
        remove: bool = True,
        stdin: bytes | None = None,
        pull: bool = True,
        **options: Any,
    ) -> Any:
        """Run a container: its standard output, or with ``detach`` the running Container.

        Raises ContainerFailed (with exit code and standard error) when the command fails.
        ``options`` are those of ``create``; a missing image is pulled unless ``pull`` is False.
        A container that was waited for is removed unless ``remove`` is False.
        """
        options["stdin"] = stdin is not None
        try:
            container = self.create(image, command, **options)
        except NotFoundError as error:
            if not pull or "no such image" not in str(error).lower():
                raise
            from wherry.client.images import Images

            Images(self._api).pull(image)
            container = self.create(image, command, **options)
        if detach:
            container.start()
            return container
        try:
            return self._wait(container, stdin)
        finally:
            if remove:
                container.remove(force=True, volumes=True)

    def _wait(self, container: Container, stdin: bytes | None) -> bytes:
        query = {"stream": True, "stdout": True, "stderr": True, "stdin": stdin is not None or None}
        connection = self._api.hijack(f"/containers/{container.id}/attach", query=query)
        try:
            container.start()
            if stdin is not None:
                connection.write(stdin)
                connection.close_write()
            output: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
            for stream, data in frames(connection.read_some):
                output.setdefault(stream, []).append(data)
        finally:
            connection.close()
        code = container.wait()
        stdout, stderr = b"".join(output[STDOUT]), b"".join(output[STDERR])
        if code:
            raise ContainerFailed(container.id, code, stdout, stderr)
        return stdout

    def get(self, reference: str) -> Container:
        """The container of that name or id; raises NotFoundError."""
        return Container(self._api, self._api.call("GET", f"/containers/{quote(reference)}/json"))

    def prune(self) -> dict[str, Any]:
        """Remove all stopped containers."""
        answer: dict[str, Any] = self._api.call("POST", "/containers/prune")
        return answer

    def list(
        self, *, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> list[Container]:
        """Running containers, or all of them."""
        chosen = {key: list(values) for key, values in (filters or {}).items()}
        query = {"all": all or None, "filters": chosen or None}
        return [
            Container(self._api, {"Id": entry["Id"]})
            for entry in self._api.call("GET", "/containers/json", query=query)
        ]
