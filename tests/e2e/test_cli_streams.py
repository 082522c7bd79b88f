"""Streams, files and exit codes of the command line against a real daemon."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import wherry.client
from tests.daemon import Daemon
from tests.images import busybox_archive

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as started:
        started.wherry("load", "-i", str(busybox_archive()))
        yield started


def run(daemon: Daemon, *words: str, **options: object) -> tuple[int, str, str]:
    done = daemon.wherry(
        "run",
        "--rm",
        "--network",
        "none",
        *words,
        check=False,
        **options,  # type: ignore[arg-type]
    )
    return done.returncode, done.stdout, done.stderr


def test_output_goes_where_it_belongs(daemon: Daemon) -> None:
    outcome = run(daemon, "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert outcome == (3, "out\n", "err\n")


def test_standard_input_reaches_the_process_and_ends(daemon: Daemon) -> None:
    data = b"x" * 1_000_000
    assert run(daemon, "-i", "busybox", "wc", "-c", input=data) == (0, "1000000\n", "")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("busybox", "does-not-exist"), 127),
        (("busybox", "/etc"), 126),
        (("--no-such-flag", "busybox"), 125),
        (("busybox", "sh", "-c", "sleep 9 & kill -9 $!; wait $!"), 137),
    ],
)
def test_exit_codes_of_failed_starts(daemon: Daemon, words: tuple[str, ...], code: int) -> None:
    assert run(daemon, *words)[0] == code


def test_life_of_a_detached_container(daemon: Daemon, tmp_path: Path) -> None:
    cid = tmp_path / "cid"
    script = "echo one; echo two >&2; sleep 100"
    words = ("-d", "--name", "life", "--cidfile", str(cid), "--network", "none")
    started = daemon.wherry("run", *words, "busybox", "sh", "-c", script)
    assert started.stdout.strip() == cid.read_text()
    assert daemon.wherry("ps", "--format", "{{.Names}} {{.State}}").stdout == "life running\n"
    assert daemon.wherry("exec", "life", "sh", "-c", "exit 5", check=False).returncode == 5
    assert daemon.wherry("pause", "life").stdout == "life\n"
    assert "(Paused)" in daemon.wherry("ps", "--format", "{{.Status}}").stdout
    daemon.wherry("unpause", "life")
    assert daemon.wherry("kill", "life").stdout == "life\n"
    assert daemon.wherry("wait", "life").stdout == "137\n"
    logs = daemon.wherry("logs", "life")
    assert (logs.stdout, logs.stderr) == ("one\n", "two\n")
    assert daemon.wherry("rm", "life").stdout == "life\n"
    again = daemon.wherry("rm", "life", check=False)
    assert (again.returncode, again.stderr) == (
        1,
        "Error response from daemon: No such container: life\n",
    )


def test_cp_both_ways(daemon: Daemon, tmp_path: Path) -> None:
    daemon.wherry("create", "--name", "copy", "--network", "none", "busybox", "true")
    source = tmp_path / "folder"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("content")
    (source / "link").symlink_to("sub/file")
    daemon.wherry("cp", str(source), "copy:/tmp/new")
    daemon.wherry("cp", "copy:/tmp/new/.", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "file").read_text() == "content"
    assert (tmp_path / "back" / "link").readlink() == Path("sub/file")
    daemon.wherry("cp", "copy:/tmp/new/sub/file", str(tmp_path / "single"))
    assert (tmp_path / "single").read_text() == "content"
    missing = daemon.wherry("cp", "copy:/nowhere", str(tmp_path), check=False)
    assert missing.returncode == 1
    assert "nowhere" in missing.stderr
    daemon.wherry("rm", "copy")


def test_save_rmi_load(daemon: Daemon, tmp_path: Path) -> None:
    daemon.wherry("tag", "busybox", "other:1")
    archive = tmp_path / "image.tar"
    daemon.wherry("save", "-o", str(archive), "other:1")
    assert daemon.wherry("rmi", "other:1").stdout == "Untagged: other:1\n"
    assert daemon.wherry("load", "-i", str(archive)).stdout == "Loaded image: other:1\n"
    daemon.wherry("rmi", "other:1")


def test_images_are_audited(daemon: Daemon) -> None:
    dockerfile = b"FROM busybox\nRUN echo hi > /new && rm /etc/group\nENV A=1\n"
    daemon.wherry("build", "--network", "none", "-t", "changed", "-", input=dockerfile)
    rows = json.loads(daemon.wherry("image", "diff", "--json", "busybox", "changed").stdout)
    found = [(row["Kind"], row["Path"], row["SizeAfter"]) for row in rows]
    assert found == [("D", "/etc/group", 0), ("A", "/new", 3)]
    assert "A +     3B  /new" in daemon.wherry("history", "--files", "changed").stdout
    quiet = daemon.wherry("build", "-q", "-", input=b"FROM busybox\n").stdout
    assert quiet == daemon.wherry("inspect", "-f", "{{.Id}}", "busybox").stdout
    built = daemon.wherry("inspect", "-f", "{{.Id}}", "changed").stdout
    daemon.wherry("tag", "busybox", "changed")
    assert daemon.wherry("image", "rollback", "changed").stdout == built
    listed = daemon.wherry("image", "rollback", "--list", "changed").stdout
    assert listed.count("\n") == 4
    assert daemon.wherry("system", "check").stdout.endswith("No problems\n")
    daemon.wherry("rmi", "changed")


def test_the_python_client(daemon: Daemon) -> None:
    with wherry.client.connect(f"unix://{daemon.socket}") as engine:
        assert engine.containers.run("busybox", ["echo", "hi"]) == b"hi\n"
        assert engine.containers.run("busybox", ["cat"], stdin=b"data") == b"data"
        with pytest.raises(wherry.client.ContainerFailed) as failure:
            engine.containers.run("busybox", ["sh", "-c", "echo no >&2; exit 3"])
        assert (failure.value.exit_code, failure.value.stderr) == (3, b"no\n")
        container = engine.containers.run("busybox", ["sleep", "100"], detach=True, name="py")
        assert (container.name, container.status) == ("py", "running")
        result = container.exec(["sh", "-c", "cat; exit 4"], stdin=b"in")
        assert (result.exit_code, result.stdout) == (4, b"in")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info = tarfile.TarInfo("put")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"new"))
        container.put_archive("/tmp", buffer.getvalue())
        assert container.exec(["cat", "/tmp/put"]).stdout == b"new"
        container.remove(force=True)
        with pytest.raises(wherry.client.NotFoundError, match="No such container: py"):
            engine.containers.get("py")
