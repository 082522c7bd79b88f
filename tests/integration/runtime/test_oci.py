"""The OCI command line: commands, hooks, consoles, descriptors, errors, and other engines on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.containers import make_busybox_root, make_spec
from tests.leaks import no_leaks

PROGRAM = str(Path(sys.executable).parent / "wherry-oci")


class Oci:
    """Runs the command line on bundles of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.log = place / "log"
        self.names: list[str] = []
        make_busybox_root(place / "rootfs")

    def bundle(self, name: str, args: list[str], **changes: Any) -> Path:
        spec = make_spec(args, user_namespace=False)
        spec["root"]["path"] = str(self.place / "rootfs")
        spec["linux"]["cgroupsPath"] = f"/{self.place.name}/{name}"
        spec["process"] |= changes.pop("process", {})
        spec |= changes
        folder = self.place / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(spec))
        self.names.append(name)
        return folder

    def __call__(
        self, *arguments: str, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        flags = ["--root", str(self.place / "state"), "--log", str(self.log)]
        done = subprocess.run(
            [PROGRAM, *flags, "--log-format", "json", *arguments],
            **{"capture_output": True, "text": True, "timeout": 60, **options},
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def state(self, name: str) -> dict[str, Any]:
        view: dict[str, Any] = json.loads(self("state", name).stdout)
        return view

    def until(self, name: str, status: str) -> None:
        for _ in range(200):
            if self.state(name)["status"] == status:
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} is {self.state(name)['status']}, not {status}")


@pytest.fixture
def oci(tmp_path: Path) -> Iterator[Oci]:
    place = tmp_path / f"wherry-oci-{os.getpid()}"
    place.mkdir()
    made = Oci(place)
    with no_leaks(place.name):
        yield made
        for name in made.names:
            made("delete", "--force", name)
        from wherry.linux.cgroups import Cgroup

        Cgroup(place.name).remove()


def test_run_passes_output_and_exit_code(oci: Oci) -> None:
    bundle = oci.bundle("a", ["sh", "-c", "echo out; echo err >&2; cat; exit 3"])
    done = oci("run", "--bundle", str(bundle), "a", check=False, input="in")
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\nin", "err\n")
    assert json.loads(oci("list", "--format", "json").stdout) == []


def quiet(oci: Oci, *arguments: str) -> None:
    """A command whose container keeps its stdio: to /dev/null, or the pipe would not end."""
    null = subprocess.DEVNULL
    oci(*arguments, capture_output=False, stdin=null, stdout=null, stderr=null)


def test_life_cycle(oci: Oci) -> None:
    bundle = oci.bundle("a", ["sleep", "600"], annotations={"k": "v"})
    quiet(oci, "create", "-b", str(bundle), "--pid-file", str(oci.place / "pid"), "a")
    view = oci.state("a")
    assert (view["status"], view["annotations"], view["bundle"]) == (
        "created",
        {"k": "v"},
        str(bundle),
    )
    assert view["pid"] == int((oci.place / "pid").read_text())
    assert "already exists" in oci("create", "-b", str(bundle), "a", check=False).stderr
    oci("start", "a")
    assert oci.state("a")["status"] == "running"
    assert oci("start", "a", check=False).returncode == 1
    oci("pause", "a")
    assert oci.state("a")["status"] == "paused"
    oci("resume", "a")
    assert "not stopped" in oci("delete", "a", check=False).stderr
    assert json.loads(oci("ps", "--format", "json", "a").stdout) == [view["pid"]]
    assert oci("exec", "a", "sh", "-c", "echo $0; exit 5", check=False).returncode == 5
    oci("update", "--pids-limit", "77", "a")
    event = json.loads(oci("events", "--stats", "a").stdout)
    assert event["data"]["pids"] == {"current": 1, "limit": 77}
    oci("kill", "a", "KILL")
    oci.until("a", "stopped")
    oci("delete", "a")
    assert "does not exist" in oci("state", "a", check=False).stderr


def test_errors_go_to_the_log_as_json(oci: Oci) -> None:
    bundle = oci.bundle("a", ["nosuch"])
    assert oci("run", "-b", str(bundle), "a", check=False).returncode == 127
    entry = json.loads(oci.log.read_text().splitlines()[-1])
    assert entry["level"] == "error"
    assert 'exec: "nosuch": executable file not found in $PATH' in entry["msg"]
    assert not list((oci.place / "state").iterdir())


def test_hooks_run_in_their_order(oci: Oci) -> None:
    trace = oci.place / "trace"

    def hook(kind: str, path: str = "/bin/sh") -> list[dict[str, Any]]:
        script = f"read -r state; echo {kind} $FOO >> {trace}"
        return [{"path": path, "args": ["sh", "-c", script], "env": ["FOO=bar"]}]

    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    hooks = {kind: hook(kind) for kind in kinds}
    inside = [{"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state"]}]
    bundle = oci.bundle("a", ["sleep", "600"], hooks={**hooks, "startContainer": inside})
    quiet(oci, "create", "-b", str(bundle), "a")
    oci("start", "a")
    oci("delete", "--force", "a")
    assert trace.read_text().split("\n")[:-1] == [f"{kind} bar" for kind in kinds]
    assert json.loads((oci.place / "rootfs/tmp/state").read_text())["id"] == "a"


def test_a_hook_that_fails_undoes_the_container(oci: Oci) -> None:
    hooks = {"createRuntime": [{"path": "/bin/false"}]}
    bundle = oci.bundle("a", ["true"], hooks=hooks)
    done = oci("create", "-b", str(bundle), "a", check=False)
    assert "error running createRuntime hook #0" in done.stderr
    assert not list((oci.place / "state").iterdir())


def receive_terminal(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        name, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    assert name
    return fds[0]


def test_console_socket(oci: Oci) -> None:
    bundle = oci.bundle("a", ["sh", "-c", "tty; read x"], process={"terminal": True})
    path = str(oci.place / "c.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        quiet(oci, "create", "-b", str(bundle), "--console-socket", path, "a")
        master = receive_terminal(listener)
        oci("start", "a")
        assert os.read(master, 100) == b"/dev/pts/0\r\n"
        process = {**make_spec(["tty"])["process"], "terminal": True}
        (oci.place / "process.json").write_text(json.dumps(process))
        quiet(
            oci,
            *("exec", "--detach", "--process", str(oci.place / "process.json")),
            *("--console-socket", path, "a"),
        )
        second = receive_terminal(listener)
        assert os.read(second, 100) == b"/dev/pts/1\r\n"
    os.close(master)
    os.close(second)


def test_preserved_descriptors(oci: Oci, tmp_path: Path) -> None:
    (tmp_path / "extra").write_text("from outside")
    fd = os.open(tmp_path / "extra", os.O_RDONLY)
    os.dup2(fd, 3)
    bundle = oci.bundle("a", ["sh", "-c", "cat <&3; ls /proc/$$/fd; echo $LISTEN_FDS; true"])
    done = oci("run", "-b", str(bundle), "--preserve-fds", "1", "a", pass_fds=[3])
    assert done.stdout == "from outside0\n1\n2\n3\n1\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ociVersion": "7.0"}, "unsupported spec version"),
        ({"root": {}}, "Root path is required"),
        ({"process": None}, "process property must not be empty"),
    ],
)
def test_bundles_that_cannot_be(oci: Oci, change: dict[str, Any], message: str) -> None:
    bundle = oci.bundle("a", ["true"])
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps({**config, **change}))
    assert message in oci("create", "-b", str(bundle), "a", check=False).stderr


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "ä"])
def test_names_that_cannot_be(oci: Oci, name: str) -> None:
    assert "invalid container ID" in oci("state", name, check=False).stderr


def test_features(oci: Oci) -> None:
    view = json.loads(oci("features").stdout)
    assert {"ro", "rbind", "rprivate", "idmap"} <= set(view["mountOptions"])
    assert "user" in view["linux"]["namespaces"]


def test_terminal_of_run_is_relayed_and_signals_are_passed_on(oci: Oci) -> None:
    bundle = oci.bundle(
        "a", ["sh", "-c", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done"]
    )
    flags = ["--root", str(oci.place / "state"), "run", "-b", str(bundle), "a"]
    running = subprocess.Popen([PROGRAM, *flags], stdout=subprocess.PIPE)
    assert running.stdout is not None
    assert running.stdout.readline() == b"up\n"
    running.send_signal(signal.SIGTERM)
    assert running.wait(20) == 9
    running.stdout.close()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Podman takes no run folder of more than 50 characters."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-podman-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed")
def test_podman_runs_on_it(oci: Oci, tmp_path: Path, short_folder: Path) -> None:
    place = short_folder
    flags = [
        *("--root", f"{place}/root", "--runroot", f"{place}/run", "--tmpdir", f"{place}/tmp"),
        *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
        *("--runtime", PROGRAM),
    ]

    def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["podman", *flags, *arguments], capture_output=True, text=True, timeout=90, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    tar = tmp_path / "busybox.tar"
    subprocess.run(["tar", "-C", str(oci.place / "rootfs"), "-cf", str(tar), "."], check=True)
    podman("import", "-q", str(tar), "busybox")
    common = ["--network", "none", "--ulimit", "nofile=1024:1024"]
    done = podman("run", "--rm", *common, "busybox", "sh", "-c", "echo hi; exit 4", check=False)
    assert (done.returncode, done.stdout) == (4, "hi\n")
    done = podman("run", "--rm", *common, "busybox", "nosuch", check=False)
    assert done.returncode == 127
    podman("run", "-d", "--name", "c", *common, "busybox", "sleep", "600")
    assert podman("exec", "c", "echo", "inside").stdout == "inside\n"
    assert podman("exec", "-t", "c", "tty").stdout.strip() == "/dev/pts/0"
    podman("kill", "c")
    podman("rm", "-f", "c")


@pytest.mark.parametrize(
    "flags", [["--console-socket", "/no/such/socket"], ["--pid-file", "/no/x"]]
)
def test_an_exec_that_fails_after_its_start_is_taken_back(oci: Oci, flags: list[str]) -> None:
    bundle = oci.bundle("a", ["sleep", "600"])
    quiet(oci, "create", "-b", str(bundle), "a")
    oci("start", "a")
    first = oci.state("a")["pid"]
    arguments = [*("--detach", "--tty", *flags), "a", "sleep", "500"]
    if "--console-socket" not in flags:
        arguments = [word for word in arguments if word != "--tty"]
    done = oci("exec", *arguments, check=False)
    assert done.returncode == 1, done.stdout
    assert json.loads(oci("ps", "--format", "json", "a").stdout) == [first]
    oci("kill", "a", "KILL")
    oci.until("a", "stopped")


def test_a_terminal_whose_reader_is_gone_takes_its_exec_along(oci: Oci) -> None:
    bundle = oci.bundle("a", ["sleep", "600"])
    quiet(oci, "create", "-b", str(bundle), "a")
    oci("start", "a")
    first = oci.state("a")["pid"]
    reading, writing = os.pipe()
    os.close(reading)
    command = ["exec", "--tty", "a", "sh", "-c", "echo x; trap '' HUP; sleep 500"]
    done = oci(*command, check=False, capture_output=False, stdout=writing)
    os.close(writing)
    assert done.returncode == 1
    oci("kill", "a", "KILL")
    oci.until("a", "stopped")
    assert first not in json.loads(oci("ps", "--format", "json", "a").stdout)


@pytest.mark.parametrize(
    ("lacking", "named", "changes", "message"),
    [
        ("uts", False, {"hostname": "renamed"}, "unable to set hostname without a private UTS"),
        ("uts", True, {"hostname": "", "domainname": "renamed"}, "unable to set domainname"),
        ("uts", False, {"hostname": "", "sysctl": "kernel.hostname"}, "in the hosts uts"),
        ("ipc", False, {"sysctl": "kernel.msgmax"}, "in the hosts ipc namespace"),
        ("network", True, {"sysctl": "net.ipv4.ip_default_ttl"}, "in host network namespace"),
    ],
)
def test_a_bundle_does_not_change_the_host(
    oci: Oci, lacking: str, named: bool, changes: dict[str, Any], message: str
) -> None:
    """In namespaces of our own, so that a runtime that fails here harms nobody."""
    changes = dict(changes)
    name = changes.pop("sysctl", "")
    linux = make_spec([], user_namespace=False)["linux"]
    linux["cgroupsPath"] = f"/{oci.place.name}/a"
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != lacking]
    if named:
        file = {"network": "net"}.get(lacking, lacking)
        linux["namespaces"].append({"type": lacking, "path": f"/proc/self/ns/{file}"})
    if name:
        linux["sysctl"] = {name: "77"}
    bundle = oci.bundle("a", ["true"], linux=linux, **changes)
    state = "hostname; cat /proc/sys/kernel/domainname /proc/sys/kernel/msgmax"
    state += " /proc/sys/net/ipv4/ip_default_ttl"
    flags = f"{PROGRAM} --root state"
    script = f"{state} > before; {flags} create -b {bundle} a > errors 2>&1 < /dev/null"
    script += f"; {state} > after; {flags} delete --force a"
    subprocess.run(
        ["unshare", "-u", "-i", "-n", "-m", "sh", "-c", script],
        cwd=oci.place,
        timeout=60,
        check=True,
    )
    assert message in (oci.place / "errors").read_text()
    assert (oci.place / "before").read_text() == (oci.place / "after").read_text()
    assert not (oci.place / "state").exists()


@pytest.mark.parametrize("path", ["/", "/..", "/a/../.."])
def test_a_bundle_does_not_own_the_hosts_cgroup(oci: Oci, path: str) -> None:
    """Its processes would be killed at the end."""
    bundle = oci.bundle("a", ["true"])
    config = json.loads((bundle / "config.json").read_text())
    config["linux"]["cgroupsPath"] = path
    (bundle / "config.json").write_text(json.dumps(config))
    done = oci("create", "-b", str(bundle), "a", check=False)
    assert "the root of the hierarchy" in done.stderr
    assert not (oci.place / "state").exists()


def test_a_bundle_does_not_own_another_containers_cgroup(oci: Oci) -> None:
    for name in ("a", "b"):
        bundle = oci.bundle(name, ["sleep", "600"])
        config = json.loads((bundle / "config.json").read_text())
        config["linux"]["cgroupsPath"] = f"/{oci.place.name}/a"
        (bundle / "config.json").write_text(json.dumps(config))
    quiet(oci, "create", "-b", str(oci.place / "a"), "a")
    done = oci("create", "-b", str(oci.place / "b"), "b", check=False)
    assert "cgroup is not empty: 1 process(es) found" in done.stderr
    assert oci.state("a")["status"] == "created"


def test_a_terminal_comes_from_a_devpts_only(oci: Oci) -> None:
    script = "mount -t tmpfs x /dev/pts && ln -s /proc/sysrq-trigger /dev/pts/ptmx; sleep 600"
    capabilities = make_spec([])["process"]["capabilities"]
    more = {name: [*held, "CAP_SYS_ADMIN"] for name, held in capabilities.items()}
    bundle = oci.bundle("a", ["sh", "-c", script], process={"capabilities": more})
    quiet(oci, "create", "-b", str(bundle), "a")
    oci("start", "a")
    pid = oci.state("a")["pid"]
    while not os.path.islink(f"/proc/{pid}/root/dev/pts/ptmx"):
        time.sleep(0.02)
    done = oci("exec", "--tty", "a", "true", check=False)
    assert done.returncode == 1 and "not a devpts" in done.stderr


def test_cve_2024_21626_no_descriptor_of_the_caller_comes_in(oci: Oci) -> None:
    bundle = oci.bundle("a", ["sh", "-c", "ls /proc/$$/fd; exec sleep 600"])
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    with open(oci.place / "out", "wb") as out:
        options = {"capture_output": False, "stdout": out, "stderr": out, "pass_fds": [fd]}
        oci("create", "-b", str(bundle), "a", **options)
        oci("start", "a", **options)
    done = oci("exec", "a", "sh", "-c", "ls /proc/$$/fd; true", pass_fds=[fd])
    assert done.stdout.split() == ["0", "1", "2"]
    for number in (3, fd):
        place = f"/proc/self/fd/{number}"
        assert oci("exec", "--cwd", place, "a", "pwd", check=False, pass_fds=[fd]).returncode == 126
    assert (oci.place / "out").read_text().split() == ["0", "1", "2"]
    os.close(fd)


def test_cve_2025_31133_masks_come_from_the_true_null_device(oci: Oci) -> None:
    """Nothing but the character device 1:3 is laid over what must not be read."""
    (oci.place / "null").write_text("")
    bundle = oci.bundle("a", ["true"])
    flags = f"{PROGRAM} --root {oci.place}/state"
    script = f"mount --bind null /dev/null && {flags} create -b {bundle} a > errors 2>&1"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], cwd=oci.place, timeout=60)
    assert done.returncode == 1
    assert "open the null device /dev/null" in (oci.place / "errors").read_text()


@pytest.mark.parametrize(
    "change",
    [
        {"process": 5},
        {"linux": "x"},
        {"linux": {"namespaces": [{}]}},
        {"mounts": [5]},
        {"linux": {"namespaces": [{"type": "mount"}], "resources": {"memory": 7}}},
    ],
)
def test_a_bundle_of_any_shape_gets_an_answer(oci: Oci, change: dict[str, Any]) -> None:
    bundle = oci.bundle("a", ["true"])
    config = json.loads((bundle / "config.json").read_text())
    cgroup = {"cgroupsPath": f"/{oci.place.name}/a"}
    if isinstance(change.get("linux"), dict):
        change = {"linux": change["linux"] | cgroup}
    (bundle / "config.json").write_text(json.dumps({**config, **change}))
    done = oci("create", "-b", str(bundle), "a", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert json.loads(oci.log.read_text().splitlines()[-1])["level"] == "error"
    assert not (oci.place / "state/a").exists()
