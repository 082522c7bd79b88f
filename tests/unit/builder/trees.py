"""Trees for the tests of the builder, made of tar archives in memory."""

from __future__ import annotations

import io
import tarfile
import tempfile

from wherry.builder.context import TarTree

File = str | bytes | tuple[str, str] | None


def tree(files: dict[str, File], **changes: int) -> TarTree:
    """Text and bytes are files, ("->", target) links, ("=", name) hard links, None directories."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  the tree owns it
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files.items():
            archive.addfile(*_member(name, content, changes))
    file.seek(0)
    return TarTree(file)


def _member(
    name: str, content: File, changes: dict[str, int]
) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    member = tarfile.TarInfo(name)
    member.mode = 0o755 if content is None else 0o644
    member.mtime = 1000
    for key, value in changes.items():
        setattr(member, key, value)
    if content is None:
        member.type = tarfile.DIRTYPE
        return member, None
    if isinstance(content, tuple):
        member.type = tarfile.SYMTYPE if content[0] == "->" else tarfile.LNKTYPE
        member.linkname = content[1]
        return member, None
    data = content.encode() if isinstance(content, str) else content
    member.size = len(data)
    return member, io.BytesIO(data)
