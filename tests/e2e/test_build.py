# ruff: noqa: E501  (Dockerfiles and tables read better in single lines)
"""Building images with the clients that people use, from Dockerfiles of popular kinds."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import docker
import pytest

from tests.daemon import Daemon
from tests.images import busybox_archive, debian_archive
from tests.peers import compose_v2

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

FILES = Path(__file__).parent / "dockerfiles"
EXPECTED = {
    "static-site": "./blog/one.html\n./index.html\n./keep.draft.html\n",
    "non-root": "worker:staffers worker:staffers:750 made-by-worker\n",
    "arguments": "release-1 changed 0\n",
    "onbuild-child": "triggered for the child\n",
    "heredocs": 'config.ini: name = "heredoc"\nraw.txt: raw $NAME\nit\'s "quoted" $HOME\nfrom perl\n',
    "shell-form": "one\nok\n",
    "archives": "packed\n/copied:\nplain.tar\n\n/kept:\ninner.tar.gz\n7:8\n",
    "wide-graph": "".join(f"part {number}\n" for number in range(6)),
    "many-steps": "7\n",
    "volumes-and-ports": "seed\n",
    "replace-files": "f\nl\nsub\ncopied\ncopied\n0\n",
    "special-files": "special files kept\n",
    "copy-forms": "./into/a.txt\n./into/b.txt\n./into/one.md\n./json name.txt\n./kept/sub/two.md\n"
    "./plain/code.c\n./plain/one.md\n./plain/sub/two.md\n./renamed.txt\n./slash/code.c\n"
    "./slash/one.md\n./slash/sub/two.md\n./wild/a.txt\n./wild/b.txt\n./wild/with space.txt\n"
    "./without/code.c\n",
}
NEED_NETWORK = {
    "gcc-multi-stage": "built from source\n",
    "python-wheel": "greetings from a wheel\n",
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Daemon]:
    with Daemon() as daemon:
        daemon.docker("load", "-i", str(busybox_archive()))
        daemon.docker("load", "-i", str(debian_archive()))
        daemon.docker("build", "-t", "onbuild_base", str(FILES / "onbuild-base"))
        yield daemon


def built(engine: Daemon, dockerfile: str, *flags: str, check: bool = True) -> str:
    """What building from a Dockerfile alone prints."""
    done = engine.docker("build", *flags, "-", input=dockerfile.encode(), check=check)
    return done.stdout if check else done.stdout + done.stderr


def archive(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def post(
    engine: Daemon, context: bytes, headers: dict[str, str] | None = None, **query: Any
) -> list[dict[str, Any]]:
    """The objects of a ``POST /build``."""
    values = {k: json.dumps(v) if isinstance(v, dict | list) else str(v) for k, v in query.items()}
    status, body = engine.request(
        "POST",
        f"/build?{urlencode(values)}",
        context,
        {"Content-Type": "application/x-tar", **(headers or {})},
    )
    text = body.decode()
    if status != 200:
        return [{"status": status, **json.loads(text)}]
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def text_of(objects: list[dict[str, Any]]) -> str:
    return "".join(item.get("stream", "") for item in objects)


@pytest.mark.parametrize(("name", "output"), EXPECTED.items())
def test_dockerfiles_of_all_kinds(engine: Daemon, name: str, output: str) -> None:
    engine.docker("build", "-t", f"e2e-{name}", str(FILES / name))
    assert engine.docker("run", "--rm", f"e2e-{name}").stdout == output
    again = engine.docker("build", str(FILES / name)).stdout
    assert " ---> Running in" not in again


@pytest.mark.parametrize(("name", "output"), NEED_NETWORK.items())
def test_dockerfiles_that_install_packages(engine: Daemon, name: str, output: str) -> None:
    engine.docker("build", "-t", f"e2e-{name}", str(FILES / name), timeout=500)
    assert engine.docker("run", "--rm", f"e2e-{name}").stdout == output


def test_classic_output(engine: Daemon) -> None:
    output = built(engine, "FROM busybox\nLABEL test=classic\nRUN echo said\n", "-t", "classic")
    lines = output.splitlines()
    assert lines[-2].startswith("Successfully built ")
    assert lines[-1] == "Successfully tagged classic:latest"
    assert "Step 3/3 : RUN echo said" in lines
    assert "said" in lines
    assert any(line.startswith(" ---> Running in ") for line in lines)
    assert any(line.startswith("Removing intermediate container ") for line in lines)
    again = built(engine, "FROM busybox\nLABEL test=classic\nRUN echo said\n")
    assert again.count(" ---> Using cache") == 2
    image = lines[-2].split()[-1]
    assert f"Successfully built {image}" in again


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("FROM busybox\nRUN exit 7", "The command '/bin/sh -c exit 7' returned a non-zero code: 7"),
        ("FROM busybox\nRUNN x", "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)"),
        ("FROM busybox\nCOPY nope /", "COPY failed: file not found in build context or excluded by .dockerignore: stat nope: file does not exist"),
        ("RUN x", "no build stage in current context"),
        ("FROM busybox\nCOPY --from=9 a b", "invalid from flag value 9: index out of bounds"),
        ("FROM busybox\nRUN --mount=type=secret,id=x,required=true true", "\nsecret x: not found"),
        ("FROM busybox\nRUN --security=insecure true", "security.insecure is not allowed"),
        ("FROM busybox\nUSER nobody-here\nRUN true", "nobody-here"),
        ("FROM busybox\nEXPOSE x", "invalid containerPort: x"),
        ("# syntax=example/other\nFROM busybox", "unsupported syntax example/other"),
    ],
)  # fmt: skip
def test_failures(engine: Daemon, dockerfile: str, message: str) -> None:
    done = engine.docker("build", "-", input=dockerfile.encode(), check=False)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_the_exit_code_travels(engine: Daemon) -> None:
    last = post(engine, archive({"Dockerfile": "FROM busybox\nRUN exit 7"}))[-1]
    assert last["errorDetail"]["code"] == 7
    assert last["error"] == last["errorDetail"]["message"]


def test_a_secret_is_used_and_leaves_nothing(engine: Daemon) -> None:
    secret = base64.urlsafe_b64encode(
        json.dumps({"token": base64.b64encode(b"hush").decode()}).encode()
    ).decode()
    context = archive({"Dockerfile": (FILES / "secrets" / "Dockerfile").read_text()})
    objects = post(engine, context, {"X-Build-Secrets": secret}, t="e2e-secrets")
    assert "Successfully tagged" in text_of(objects)
    assert "hush" not in json.dumps(objects)
    assert engine.docker("run", "--rm", "e2e-secrets").stdout == "4\nknown\n"
    assert "hush" not in engine.docker("history", "--no-trunc", "e2e-secrets").stdout
    saved = engine.docker("run", "--rm", "e2e-secrets", "sh", "-c", "ls /run; env").stdout
    assert "secrets" not in saved
    assert "TOKEN" not in saved


def test_cache_mounts_live_on(engine: Daemon) -> None:
    folder = str(FILES / "cache-mounts")
    engine.docker("build", "--build-arg", "ROUND=1", "-t", "rounds", folder)
    engine.restart()
    engine.docker("build", "--build-arg", "ROUND=2", "-t", "rounds", folder)
    assert engine.docker("run", "--rm", "rounds").stdout == "1\n2\n"


def test_the_cache_survives_a_restart(engine: Daemon) -> None:
    dockerfile = "FROM busybox\nRUN date +%s%N > /stamp\n"
    first = built(engine, dockerfile).splitlines()[-1]
    engine.restart()
    assert built(engine, dockerfile).splitlines()[-1] == first


def test_same_inputs_give_the_same_image(engine: Daemon) -> None:
    """Built twice, on two data roots and two storage drivers, with all kinds of changes."""
    dockerfile = """FROM busybox AS first
RUN mkdir -p /x/y && echo 1 > /x/y/z && ln /x/y/z /x/h && ln -s z /x/y/l && mkfifo /x/p
RUN echo 2 > /x/f
FROM busybox
WORKDIR /new/place
COPY --from=first /x /x
RUN touch /a /b && mkdir /c && echo hi >> /etc/passwd && chmod 600 /x/f
RUN --mount=type=tmpfs,target=/scratch touch /scratch/f /c/d
RUN rm /a /bin/[ && rm -r /x/y
"""
    ids = set()
    with Daemon("--storage-driver", "vfs") as other:
        other.docker("load", "-i", str(busybox_archive()))
        for daemon in (engine, engine, other):
            flags = ("--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1500000000")
            ids.add(built(daemon, dockerfile, *flags).split()[-1])
    assert len(ids) == 1
    created = engine.docker("inspect", "-f", "{{.Created}}", ids.pop()).stdout.strip()
    assert created == "2017-07-14T02:40:00Z"


def test_a_changed_file_is_explained(engine: Daemon) -> None:
    dockerfile = "FROM busybox\nCOPY f g /\nRUN cat /f\n"
    post(engine, archive({"Dockerfile": dockerfile, "f": "1", "g": "1"}), t="explained")
    objects = post(
        engine, archive({"Dockerfile": dockerfile, "f": "2", "g": "1"}), t="explained", explain=1
    )
    steps = [item["aux"]["explain"] for item in objects if "explain" in item.get("aux", {})]
    assert [step["cached"] for step in steps] == [False, False]
    assert steps[0]["reasons"] == ["file f changed"]
    assert steps[1]["reasons"] == ["an earlier step changed"]


def test_options_of_the_client(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS one\nRUN echo $X > /x\nFROM one\nRUN false\n"
    )
    iid = tmp_path / "id"
    engine.docker(
        "build", "--target", "one", "--label", "a=b", "--label", "c=d", "--iidfile", str(iid),
        "-t", "opt:1", "-t", "opt:2", "--network", "none", "--memory", "64m", "--shm-size", "16m",
        "--add-host", "h:1.2.3.4", "--ulimit", "nofile=99:100", "--pull=false", str(tmp_path),
    )  # fmt: skip
    assert iid.read_text() == engine.docker("inspect", "-f", "{{.Id}}", "opt:1").stdout.strip()
    labels = engine.docker("inspect", "-f", "{{json .Config.Labels}}", "opt:2").stdout
    assert json.loads(labels) == {"a": "b", "c": "d"}


def test_the_network_of_a_container(engine: Daemon) -> None:
    dockerfile = "FROM busybox\nRUN wget -qO- http://localhost:81/hostname\n"
    serve = ("httpd", "-f", "-p", "81", "-h", "/etc")
    engine.docker("run", "-d", "--name", "donor", "--hostname", "lent", "busybox", *serve)
    try:
        assert "lent\n" in built(engine, dockerfile, "--no-cache", "--network", "container:donor")
    finally:
        engine.docker("rm", "-f", "donor")
    objects = post(
        engine, archive({"Dockerfile": dockerfile}), networkmode="container:donor", nocache=1
    )
    assert objects[-1]["error"] == "No such container: donor"


def test_limits_reach_the_commands(engine: Daemon) -> None:
    output = built(
        engine,
        "FROM busybox\nRUN ulimit -n; grep -c 1.2.3.4 /etc/hosts; df -k /dev/shm | tail -n 1\n",
        *(
            "--ulimit",
            "nofile=99:100",
            "--add-host",
            "h:1.2.3.4",
            "--shm-size",
            "16m",
            "--no-cache",
        ),
    )
    assert "\n99\n1\n" in output
    assert "16384" in output


def test_squash_makes_one_layer(engine: Daemon) -> None:
    dockerfile = "FROM busybox\nRUN mkdir /d && echo 1 > /d/a && echo x > /gone\nRUN rm /gone && echo 2 > /d/b\nRUN rm -r /home\n"
    post(engine, archive({"Dockerfile": dockerfile}), t="squashed", squash=1)
    count = engine.docker("inspect", "-f", "{{len .RootFS.Layers}}", "squashed").stdout.strip()
    base = engine.docker("inspect", "-f", "{{len .RootFS.Layers}}", "busybox").stdout.strip()
    assert int(count) == int(base) + 1
    assert (
        engine.docker(
            "run",
            "--rm",
            "squashed",
            "sh",
            "-c",
            "cat /d/*; ls -d /gone /home 2>/dev/null",
            check=False,
        ).stdout
        == "1\n2\n"
    )


def test_unused_arguments_are_told(engine: Daemon) -> None:
    output = built(engine, "FROM busybox\n", "--build-arg", "NOPE=1")
    assert "[Warning] One or more build-args [NOPE] were not consumed" in output


def test_dockerfile_elsewhere_with_its_own_ignore_file(engine: Daemon) -> None:
    folder = FILES / "named-dockerfile"
    engine.docker(
        "build", "-t", "named", "-f", str(folder / "build" / "Custom.Dockerfile"), str(folder)
    )
    assert engine.docker("run", "--rm", "named").stdout == "public.txt\n"


@pytest.mark.parametrize("compress", ["gz", "bz2", "xz"])
def test_compressed_contexts(engine: Daemon, compress: str) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compress}") as tar:
        data = b"FROM busybox\nLABEL a=b\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    assert "Successfully built" in text_of(post(engine, out.getvalue()))


def test_the_context_cannot_be_left(engine: Daemon) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        data = b"FROM busybox\nCOPY evil /got\nCOPY ../../../etc/hostname /up\n"
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("evil")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../../../../etc/passwd"
        tar.addfile(link)
    assert (
        "COPY failed: file not found in build context" in post(engine, out.getvalue())[-1]["error"]
    )


def test_links_in_the_image_lead_nowhere_else(engine: Daemon) -> None:
    sentinel = Path("/tmp/wherry-build-sentinel")
    sentinel.unlink(missing_ok=True)
    dockerfile = (
        "FROM busybox\nRUN ln -s /../../../../tmp /escape && ln -s / /root-link\n"
        "COPY f /escape/wherry-build-sentinel\n"
        "RUN --mount=type=bind,source=f,target=/root-link/mounted cat /mounted\n"
        "RUN test -f /tmp/wherry-build-sentinel && test ! -e /mounted\n"
    )
    objects = post(engine, archive({"Dockerfile": dockerfile, "f": "x"}))
    assert "Successfully built" in text_of(objects), objects[-1]
    assert not sentinel.exists()


def test_a_client_that_goes_away_cancels(engine: Daemon) -> None:
    context = archive({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 300\n"})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(engine.socket)
        client.sendall(
            b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
            b"Content-Length: %d\r\n\r\n" % len(context) + context
        )
        seen = b""
        while b"begun" not in seen.split(b"Running in")[-1]:
            seen += client.recv(4096)
    deadline = time.monotonic() + 15
    roots = engine.data_root / "roots" / "overlay"
    while time.monotonic() < deadline and any(roots.iterdir()):
        time.sleep(0.1)
    assert list(roots.iterdir()) == []
    assert "Successfully built" in built(engine, "FROM busybox\nRUN true\n")


def test_prune_and_usage(engine: Daemon) -> None:
    built(engine, "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null\n")
    usage = engine.json("GET", "/system/df?type=build-cache")["BuildCache"]
    assert any(record["Size"] >= 3 << 20 for record in usage)
    pruned = engine.json("POST", "/build/prune?all=1")
    assert pruned["SpaceReclaimed"] >= 3 << 20
    assert engine.json("GET", "/system/df?type=build-cache")["BuildCache"] == []
    output = built(engine, "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null\n")
    assert " ---> Running in" in output


def test_docker_py_builds(engine: Daemon) -> None:
    client = docker.DockerClient(base_url=f"unix://{engine.socket}")
    try:
        image, logs = client.images.build(path=str(FILES / "static-site"), tag="py-site", rm=True)
        assert "py-site:latest" in image.tags
        assert any("Successfully built" in entry.get("stream", "") for entry in logs)
        with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 3"):
            client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 3\n"))
    finally:
        client.close()


def test_compose_v2_builds(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nARG WORD\nRUN echo $WORD > /word\nCMD cat /word\n"
    )
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: composed\n    build:\n      context: .\n      args:\n        WORD: told\n"
    )
    subprocess.run(
        [str(compose_v2()), "-f", str(tmp_path / "compose.yaml"), "build"],
        env=engine.client_environment(),
        check=True,
        timeout=120,
    )
    assert engine.docker("run", "--rm", "composed").stdout == "told\n"


def test_secrets_and_agents_of_the_client(engine: Daemon, tmp_path: Path) -> None:
    """``--secret`` is in memory and only there; ``--ssh`` leads to the agent and back."""
    (tmp_path / "token").write_text("s3cr3t")
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "agent"))
        listener.listen()

        def answer() -> None:
            talk, _ = listener.accept()
            with talk:
                asked.append(talk.recv(100))
                talk.sendall(b"the agent's answer")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        perl = (
            "use IO::Socket::UNIX; $s = IO::Socket::UNIX->new(Peer => $ENV{SSH_AUTH_SOCK}) or die;"
            ' print $s "list"; $s->flush; $s->read($a, 18); print "<$a>\\n"'
        )
        text = engine.wherry(
            *("build", "--secret", f"id=token,src={tmp_path}/token", "--no-cache"),
            *("--ssh", f"default={tmp_path}/agent", "-t", "secretive", "-"),
            input=f"""FROM debian
RUN --mount=type=secret,id=token grep token /proc/mounts && cat /run/secrets/token
RUN --mount=type=ssh,required perl -e '{perl}'
RUN ! test -e /run/secrets/token
""".encode(),
        ).stdout
        thread.join(30)
    assert "tmpfs /run/secrets/token tmpfs ro," in text
    assert "s3cr3t" in text
    assert "<the agent's answer>" in text
    assert asked == [b"list"]
    found = subprocess.run(["grep", "-rlF", "s3cr3t", str(engine.folder)], capture_output=True)
    assert found.stdout == b""
    assert not list(engine.exec_root.glob("build-secret-*"))


def test_directories_as_named_contexts_and_results(engine: Daemon, tmp_path: Path) -> None:
    context, other = tmp_path / "context", tmp_path / "other"
    context.mkdir()
    other.mkdir()
    (other / "file").write_text("from elsewhere")
    (other / "left").write_text("out")
    (other / ".dockerignore").write_text("left\n")
    (context / "Dockerfile").write_text(
        "FROM busybox AS all\nCOPY . /context\nRUN find /context | sort\n"
        "FROM scratch\nCOPY --from=all /context /context\nCOPY --from=extra . /extra\n"
    )
    text = engine.wherry(
        *("build", "--build-context", f"extra={other}", "-o", str(tmp_path / "out")),
        *("--metadata-file", str(tmp_path / "meta"), "--iidfile", str(tmp_path / "id")),
        *("-t", "named-contexts", str(context)),
    ).stdout
    assert "/context\n/context/Dockerfile\n" in text
    assert (tmp_path / "out" / "extra" / "file").read_text() == "from elsewhere"
    assert not (tmp_path / "out" / "extra" / "left").exists()
    meta = json.loads((tmp_path / "meta").read_text())
    assert meta["containerimage.config.digest"] == (tmp_path / "id").read_text()
    assert meta["image.name"] == "named-contexts"


def test_a_cache_travels_in_images_and_directories(engine: Daemon, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS first\nRUN echo fixed > /when\n"
        "FROM busybox\nENV a=b\nCOPY --chmod=600 --from=first /when /\nRUN cat /proc/uptime > /then\n"
    )

    def image(*flags: str) -> str:
        return engine.wherry("build", "-q", *flags, str(tmp_path)).stdout.strip()

    def forget(*images: str) -> None:
        engine.wherry("rmi", *images)
        engine.wherry("builder", "prune", "-af")

    first = image("-t", "travels", "--cache-to", f"type=local,dest={tmp_path}/cache,mode=max")
    saved = subprocess.run(
        [*("docker", "save", "travels")],
        env=engine.client_environment(),
        capture_output=True,
        check=True,
    ).stdout
    forget("travels")
    assert image("--cache-from", f"type=local,src={tmp_path}/cache") == first
    forget(first)
    engine.docker("load", input=saved)
    engine.docker("build", "--cache-from", "travels", "-t", "again", str(tmp_path))
    assert engine.docker("inspect", "-f", "{{.Id}}", "again").stdout.strip() == first


def test_ids_of_steps_are_images_for_who_asks(engine: Daemon) -> None:
    """Also those of a build that failed; nobody else sees them."""
    before = engine.docker("images", "-aq").stdout
    dockerfile = "FROM busybox\nENV word=remembered\nRUN echo $word > /file\nRUN exit 3\n"
    done = built(engine, dockerfile, check=False)
    step = re.findall(r" ---> ([0-9a-f]{12})\n", done)[-1]
    assert engine.docker("images", "-aq").stdout == before
    assert engine.docker("run", "--rm", step, "cat", "/file").stdout == "remembered\n"
    assert engine.docker("inspect", "-f", "{{.Config.Env}}", step).stdout.count("remembered")
    engine.docker("rmi", step)
    assert "No such image" in engine.docker("inspect", "--type=image", step, check=False).stderr


def test_stages_are_mounted_to_be_read_and_copied_to_be_written(engine: Daemon) -> None:
    dockerfile = """FROM busybox AS first
RUN mkdir /c && echo one > /c/f && chown 7:8 /c/f
FROM busybox
RUN --mount=from=first,source=/c,target=/m exec 2>&1; ls -ln /m | tail -n1 && echo no > /m/f || echo refused
RUN --mount=from=first,source=/c,target=/m,rw echo two > /m/f && cat /m/f
RUN --mount=from=first,source=/c/f,target=/one cat /one
RUN --mount=from=first,source=/,target=/all cat /all/c/f
"""
    text = built(engine, dockerfile, "--no-cache")
    assert re.search(r"-rw-r--r--\s+1 7\s+8\s+4 .* f\n", text)
    assert "Read-only file system\n" in text
    assert "\nrefused\n" in text
    assert re.findall(r"^(one|two)$", text, re.MULTILINE) == ["two", "one", "one"]
