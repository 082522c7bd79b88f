"""Files from elsewhere: http(s) and git, for ADD and for whole contexts.

Git runs with every transport but https, http, ssh and git refused, without hooks, prompts or the
user's own configuration; what a repository names (references, directories) never becomes an
option of a command or a path outside the clone.
"""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import io
import os
import re
import tarfile
import tempfile
import urllib.parse
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO

import aiohttp

from wherry.builder.context import decompressed
from wherry.builder.layertree import LayerTree
from wherry.builder.trees import Entry, Kind, normalise, resolve
from wherry.errors import InvalidParameter, Unavailable
from wherry.fs.removing import remove_path

_HTTP = re.compile(r"https?://", re.IGNORECASE)
_GIT_URL = re.compile(r"(git://|ssh://|git@[\w.-]+:|https?://.+\.git(?:[#?]|$))", re.IGNORECASE)
_GIT_HOST = re.compile(r"(github\.com|gitlab\.com)/", re.IGNORECASE)
_REFERENCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@{}^~-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_CHUNK = 1 << 18
_MAX_DOWNLOAD = 1 << 40
_TIMEOUT = 30.0  # seconds without any answer


def is_git(source: str) -> bool:
    """Whether ``source`` is the address of a git repository."""
    return bool(_GIT_URL.match(source) or _GIT_HOST.match(source))


def is_remote(source: str) -> bool:
    """Whether ``source`` lies elsewhere."""
    return bool(_HTTP.match(source)) or is_git(source)


def begins_archive(file: BinaryIO) -> bool:
    """Whether a file, compressed or not, begins with a tar header."""
    try:
        head = decompressed(file).read(512)
        tarfile.TarInfo.frombuf(head, tarfile.ENCODING, "surrogateescape")
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return False
    except Exception as error:  # each decompressor has errors of its own
        if type(error).__module__ in ("zlib", "lzma", "_lzma", "zstd", "isal.isal_zlib"):
            return False
        raise
    return True


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A downloaded file as a tree with one entry, called ``name`` at its source."""

    host_path: str
    name: str
    mtime: int
    size: int
    sha256: str
    content_type: str = ""

    @property
    def path(self) -> str:
        """The path of the only file in this tree."""
        return "file"

    def entry(self, path: str) -> Entry | None:
        """See `trees.Tree`."""
        if not path:
            return Entry(Kind.DIRECTORY, 0o755)
        if path != self.path:
            return None
        return Entry(Kind.FILE, 0o600, size=self.size, mtime=self.mtime)

    def children(self, path: str) -> list[str]:
        """See `trees.Tree`."""
        return [] if path else [self.path]

    def open(self, path: str) -> io.BufferedReader:
        """See `trees.Tree`."""
        return open(self.host_path, "rb")

    def digest(self, path: str) -> str:
        """See `trees.Tree`."""
        return self.sha256


@asynccontextmanager
async def http_response(url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer to a GET, through the environment's proxies; its content is read as it was sent.

    Raises Unavailable, while the answer is read too, when the address cannot be had.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, trust_env=True, auto_decompress=False
            ) as session,
            session.get(url) as response,
        ):
            if response.status >= 400:
                raise Unavailable(
                    f"failed to download {url}: server answered {response.status} {response.reason}"
                )
            yield response
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable(f"failed to download {url}: {error or 'no answer'}") from None


async def http_file(
    url: str, directory: str, resources: AsyncExitStack, *, checksum: str = ""
) -> RemoteFile:
    """Download ``url`` into ``directory``; it is removed when ``resources`` close.

    Raises Unavailable when it cannot be had, InvalidParameter for a wrong checksum.
    """
    handle, path = tempfile.mkstemp(prefix="download-", dir=directory)
    os.close(handle)
    resources.callback(os.unlink, path)
    digest = hashlib.sha256()
    size = 0
    async with http_response(url) as response:
        with open(path, "wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK):
                size += len(chunk)
                if size > _MAX_DOWNLOAD:
                    raise Unavailable(f"failed to download {url}: it is too large")
                digest.update(chunk)
                file.write(chunk)
        name = _file_name(response)
        modified = response.headers.get("Last-Modified", "")
        content_type = response.headers.get("Content-Type", "")
    actual = f"sha256:{digest.hexdigest()}"
    if checksum and checksum != actual:
        raise InvalidParameter(f"digest mismatch of {url}: {actual} expected: {checksum}")
    return RemoteFile(path, name, _modified(modified), size, digest.hexdigest(), content_type)


def _file_name(response: aiohttp.ClientResponse) -> str:
    disposition = response.content_disposition
    if disposition is not None and disposition.filename:
        return os.path.basename(disposition.filename)
    path = urllib.parse.unquote(urllib.parse.urlsplit(str(response.url)).path)
    name = path.rpartition("/")[2]
    return "" if name in (".", "..") else name


def _modified(value: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(value).timestamp()) * 1_000_000_000
    except (ValueError, TypeError):
        return 0


@dataclass(frozen=True, slots=True)
class GitSource:
    """A repository, what to check out, and the directory in it."""

    repository: str
    reference: str = ""
    directory: str = ""

    @classmethod
    def parse(cls, text: str) -> GitSource:
        """``URL[#REFERENCE[:DIRECTORY]]``. Raises InvalidParameter for what is not safe."""
        repository, _, fragment = text.partition("#")
        if _GIT_HOST.match(repository):
            repository = f"https://{repository}"
        reference, _, directory = fragment.partition(":")
        if reference and (not _REFERENCE.fullmatch(reference) or ".." in reference):
            raise InvalidParameter(f"invalid git reference: {reference!r}")
        if repository.startswith("-") or not _GIT_URL.match(repository + "#"):
            host = urllib.parse.urlsplit(repository).scheme in ("http", "https")
            if not host:
                raise InvalidParameter(f"invalid git repository: {repository!r}")
        return cls(repository, reference, directory)


async def git_tree(
    source: str,
    directory: str,
    resources: AsyncExitStack,
    *,
    keep_git_dir: bool = False,
    checksum: str = "",
) -> LayerTree:
    """A clone of a repository at one commit, submodules included, as a tree.

    Raises InvalidParameter for a bad address and Unavailable when it cannot be had.
    """
    wanted = GitSource.parse(source)
    clone = tempfile.mkdtemp(prefix="git-", dir=directory)
    resources.push_async_callback(asyncio.to_thread, remove_path, clone)
    os.chmod(clone, 0o755)
    await _git(clone, "init", "--quiet", ".")
    await _git(clone, "remote", "add", "origin", "--", wanted.repository)
    reference = wanted.reference or "HEAD"
    depth = () if _COMMIT.fullmatch(reference) else ("--depth=1",)
    try:
        await _git(clone, "fetch", "--quiet", *depth, "origin", "--", reference)
        target = "FETCH_HEAD"
    except Unavailable:
        if not wanted.reference:
            raise
        await _git(clone, "fetch", "--quiet", "--tags", "origin")
        named = ("--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
        try:
            target = (await _git(clone, "rev-parse", *named)).strip()
        except Unavailable:
            raise Unavailable(f"repository does not contain ref {reference}") from None
    await _git(clone, "checkout", "--quiet", "--detach", target)
    commit = (await _git(clone, "rev-parse", "HEAD")).strip()
    if checksum and not commit.startswith(checksum.removeprefix("sha256:")):
        raise InvalidParameter(f"expected checksum to match {checksum}, got {commit}")
    if os.path.exists(f"{clone}/.gitmodules"):
        await _git(clone, "submodule", "update", "--quiet", "--init", "--recursive", "--depth=1")
    if not keep_git_dir:
        await asyncio.to_thread(remove_path, f"{clone}/.git")
    tree = LayerTree([clone])
    if not wanted.directory:
        return tree
    inside = resolve(tree, normalise(wanted.directory))
    entry = tree.entry(inside) if inside is not None else None
    if inside is None or entry is None or not entry.is_directory:
        raise InvalidParameter(f"git repository has no directory {wanted.directory!r}")
    return LayerTree([f"{clone}/{inside}"])


async def _git(directory: str, *arguments: str) -> str:
    options = (
        "-c", "protocol.allow=never",
        "-c", "protocol.https.allow=always",
        "-c", "protocol.http.allow=always",
        "-c", "protocol.ssh.allow=always",
        "-c", "protocol.git.allow=always",
        "-c", "core.hooksPath=/dev/null",
        "-c", "core.symlinks=true",
        "-c", "submodule.recurse=false",
    )  # fmt: skip
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": directory,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes",
        "LC_ALL": "C",
    }
    for name in ("http_proxy", "https_proxy", "no_proxy", "GIT_SSL_CAINFO"):
        if name in os.environ:
            environment[name] = os.environ[name]
    try:
        process = await asyncio.create_subprocess_exec(
            "git",
            *options,
            *arguments,
            cwd=directory,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        raise Unavailable("git is not installed on the host of the daemon") from None
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        text = err.decode("utf-8", "replace").strip()
        raise Unavailable(f"git {arguments[0]} failed: {text or process.returncode}")
    return out.decode("utf-8", "replace")
