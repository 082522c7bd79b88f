"""Commands other than create send what the official client sends."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from .differential import DOCKER, WHERRY, as_wherry, run
from .recorder import recording

pytestmark = pytest.mark.skipif(DOCKER is None, reason="needs the official client")

STATE = {"Running": True, "Paused": False, "Restarting": False, "Status": "running"}
CONTAINER = {
    "Id": "c0ffee",
    "Name": "/c",
    "State": STATE,
    "Config": {"Tty": False, "OpenStdin": False, "AttachStdout": True, "AttachStderr": True},
    "HostConfig": {"AutoRemove": False},
    "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}]}},
}
ANSWERS: dict[tuple[str, str], tuple[int, object]] = {
    ("GET", "/containers/c/json"): (200, CONTAINER),
    ("POST", "/containers/c/exec"): (201, {"Id": "e"}),
    ("GET", "/containers/c/changes"): (200, [{"Kind": 1, "Path": "/x"}]),
    ("GET", "/containers/json"): (200, []),
    ("GET", "/images/json"): (200, []),
    ("GET", "/images/a/history"): (200, []),
    ("GET", "/images/search"): (200, []),
    ("DELETE", "/images/a"): (200, [{"Untagged": "a:latest"}]),
    ("GET", "/networks"): (200, []),
    ("GET", "/volumes"): (200, {"Volumes": []}),
    ("POST", "/containers/c/wait"): (200, {"StatusCode": 7}),
    ("GET", "/containers/c/top"): (200, {"Titles": ["PID"], "Processes": [["1"]]}),
    ("GET", "/containers/nope/json"): (404, {"message": "No such container: nope"}),
    ("POST", "/images/create"): (200, b""),
    ("POST", "/images/load"): (200, b""),
    ("POST", "/images/docker.io/library/a/push"): (200, b""),
    ("POST", "/images/registry.example.org:5000/a/b/push"): (200, b""),
    ("GET", "/events"): (200, b""),
    ("POST", "/containers/nope/start"): (404, {"message": "No such container: nope"}),
}

SAME = """
exec -d c sh -c x
exec -d -e A=1 -e FROM_HERE --env-file vars.env -u 1 -w /x --privileged -t c cat
start c
start nope
start c nope
stop c
stop -t 5 -s INT c
stop --timeout=-1 c
restart -t 3 -s HUP c
kill c
kill -s 9 c
rm c
rm -fv c
rm -l c/alias
pause c
unpause c
top c
top c -o pid
wait c c
rename a b
logs --tail 3 --since 10 --until 2020-01-02T03:04:05Z -t --details -f c
logs nope
diff c
port c
port c 80
port c 80/udp
port c x
commit -a me -m 'a message' -c 'CMD x' -c 'ENV A=b' c name:tag
commit c
commit -p=false c registry.example.org:5000/x
tag a registry.example.org/x/y:z
tag a b
tag a BAD
rmi -f a
rmi --no-prune --platform linux/amd64 a
history --platform linux/arm64/v8 a
save a b
save --platform linux/amd64 a
import - x
import -m hello -c 'CMD x' --platform linux/amd64 http://example.org/y repo:t
load -q --platform linux/amd64
pull a
pull a:b
pull -q a@sha256:0000000000000000000000000000000000000000000000000000000000000000
pull -a registry.example.org/a
pull --platform linux/arm64 a
push a
push registry.example.org:5000/a/b:c
push -a a
push -q a:b
search --limit 5 -f stars=3 x
images -a -f dangling=true -f label=x
images a
ps -a -f status=exited -f name=x -n 5 -s
ps -l
network create n
network create -d macvlan --subnet 10.1.0.0/16 --subnet fd00::/64 --gateway 10.1.0.1 n
network create --subnet 10.1.0.0/16 --ip-range 10.1.1.0/24 --aux-address a=10.1.1.5 n
network create --internal --attachable --ipv6 --label a=b -o parent=eth0 --ipam-opt x=y n
network create --ipv4=false --config-only n
network create --config-from other --scope local n
network create --gateway 10.0.0.1 n
network create --subnet 10.0.0.0/8 --subnet 10.1.0.0/16 n
network create --subnet 10.0.0.0/8 --gateway 11.0.0.1 n
network connect n c
network connect --ip 1.2.3.4 --ip6 fd00::2 --alias a --alias b --link x:y --driver-opt k=v n c
network connect --gw-priority 5 --link-local-ip 169.254.1.1 n c
network disconnect -f n c
network ls -f driver=x
network prune -f --filter label=x
volume create
volume create --label a=b -o type=tmpfs -d local v
volume rm -f v
volume ls -f dangling=true
volume prune -f
volume prune -fa
image prune -fa --filter until=1h
image prune -f
container prune -f --filter until=1h
system prune -f
system prune -fa --volumes
system df
events --since 1 --until 2 -f type=x
update --restart always --cpus 1 --pids-limit 5 c
update -m 64m --memory-swap -1 --blkio-weight 100 --cpuset-cpus 0 c d
update c
export c
inspect -s c
container inspect nope
ps x
image foo
kill
tag a
stop -t x c
events --until
""".strip().splitlines()


def comparable(body: bytes) -> Any:
    """A body without the order that docker takes from a map, which is another one each time."""
    data = json.loads(body)
    if isinstance(data, dict) and "IPAM" in data:
        data["IPAM"]["Config"] = sorted(data["IPAM"]["Config"] or (), key=json.dumps)
    return data


@pytest.mark.parametrize("line", SAME)
def test_the_requests_equal_dockers(line: str, tmp_path: Path) -> None:
    (tmp_path / "vars.env").write_text("B=2\n")
    words = shlex.split(line)
    with recording(tmp_path, ANSWERS) as recorder:
        theirs = run([str(DOCKER)], recorder, words, tmp_path)
        ours = run(WHERRY, recorder, words, tmp_path)
    assert (ours.code, ours.stdout) == (theirs.code, theirs.stdout)
    assert ours.stderr == as_wherry(theirs.stderr)
    assert [(r.method, r.path, r.query) for r in ours.requests] == [
        (r.method, r.path, r.query) for r in theirs.requests
    ]
    for our, their in zip(ours.requests, theirs.requests, strict=True):
        if their.headers.get("content-type") == "application/json":
            assert comparable(our.body) == comparable(their.body)
        assert our.headers.get("x-registry-auth") == their.headers.get("x-registry-auth")
