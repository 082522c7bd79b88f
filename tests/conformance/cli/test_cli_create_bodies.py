"""``wherry create`` and ``run`` send what the official client sends, flag by flag."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from .differential import DOCKER, WHERRY, as_wherry, run
from .recorder import recording

pytestmark = pytest.mark.skipif(DOCKER is None, reason="needs the official client")

ACCEPTED = """
-it
-i
-t
-a stdout
-a STDIN -a stderr
-ia stdout
--name boat --hostname here --domainname example.org
-h here -u 1000:1000 -w /srv
--entrypoint /bin/sh
--entrypoint=
-e A=1 -e B=2 -e A=3
-e FROM_HERE -e NOT_SET_ANYWHERE
-e EMPTY=
--env-file vars.env -e B=over
-l a=b -l c --label d=e=f
--label-file labels -l a=over
--annotation a=b --annotation c=d
--init
--init=false
--group-add 10 --group-add audio
--stop-signal SIGQUIT --stop-timeout 7
--stop-timeout 0
--rm
--restart always
--restart on-failure
--restart on-failure:5
--restart unless-stopped
--restart no --rm
--runtime crun
--isolation default
--cidfile cid
--platform linux/amd64
--pid host --ipc host --uts host --userns host --cgroupns host
--pid container:other --ipc container:other
--ipc none
--ipc shareable
--cgroupns private
--privileged
--cap-add NET_ADMIN --cap-add=SYS_TIME --cap-drop ALL
--security-opt no-new-privileges
--security-opt no-new-privileges=true --security-opt label=disable
--security-opt apparmor:unconfined
--security-opt seccomp=unconfined
--security-opt seccomp=profile.json
--security-opt systempaths=unconfined
--security-opt label:type:svirt_t
--read-only
--sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=65536
--network host
--network none
--network bridge
--network mine
--net mine --net-alias one --network-alias two
--network container:other
--network mine --ip 10.1.2.3 --ip6 2001:db8::33 --link-local-ip 169.254.1.2
--network mine --link db:database --link cache
--network mine --mac-address 92:d0:c6:0a:29:33
--mac-address 92:d0:c6:0a:29:33
--link db:database
--network name=mine,alias=a,alias=b,ip=10.0.0.9,driver-opt=k=v,mac-address=92:d0:c6:0a:29:33
--network name=mine,gw-priority=7 --network other
--network mine --network name=other,alias=x
--network name=mine,link-local-ip=169.254.0.1,ip6=fd00::1
-p 80
-p 8080:80
-p 127.0.0.1:8080:80
-p 127.0.0.1::80/udp
-p 8080-8082:80-82
-p 8000-8010:80
-p [::1]:8080:80
-p 53:53/udp -p 53:53/tcp
-p 80:80 -p 81:80
-p 80:80/SCTP
-p published=8080,target=80,protocol=udp
-p target=80
-P
--expose 80 --expose 90/udp --expose 100-103
--expose 80 -p 80
--add-host a:1.2.3.4 --add-host b=5.6.7.8 --add-host h:host-gateway --add-host v6:[::1]
--add-host v6=fd00::1
--dns 8.8.8.8 --dns ::1 --dns-search example.org --dns-search . --dns-option ndots:2
--dns-opt timeout:3
-v /a:/b
-v /a:/b:ro,Z -v name:/c -v /anonymous
-v ./here:/b
-v .:/b
-v /a:/b -v /a:/b
-v aa:b:c:d
--mount type=bind,src=/tmp,dst=/x
--mount type=bind,source=/tmp,target=/x,readonly,bind-propagation=rshared
--mount type=bind,source=./sub,target=/x
--mount type=bind,src=/tmp,dst=/x,bind-nonrecursive
--mount type=bind,src=/tmp,dst=/x,bind-recursive=disabled
--mount type=bind,src=/tmp,dst=/x,readonly,bind-recursive=writable
--mount type=bind,src=/tmp,dst=/x,readonly,bind-recursive=readonly,bind-propagation=rprivate
--mount src=vol,dst=/x
--mount type=volume,dst=/x,volume-nocopy,volume-driver=local,volume-opt=type=tmpfs
--mount type=volume,src=v,dst=/x,volume-label=a=b,volume-label=c,volume-subpath=s/t
--mount 'type=volume,dst=/x,"volume-opt=o=addr=1.2.3.4,ro"'
--mount type=tmpfs,dst=/x,tmpfs-size=64m,tmpfs-mode=1770
--mount type=tmpfs,dst=/x
--mount type=image,src=busybox,dst=/x,image-subpath=bin
--mount type=bind,src=/a,dst=/b,consistency=cached
--mount type=bind,src=/a,dst=/b,ro=false
--mount type=volume,src=v,dst=/x,volume-nocopy=false
--tmpfs /run --tmpfs /tmp:rw,size=64m,mode=1777
--volumes-from one --volumes-from two:ro
--volume-driver local -v data:/x
--storage-opt size=10G
--cpus 1.5
--cpus 0.25 -c 512 --cpu-period 100000 --cpu-quota 50000
--cpu-rt-period 1000000 --cpu-rt-runtime 950000 --cpuset-cpus 0-1 --cpuset-mems 0
-m 64m --memory-reservation 32M --memory-swap 128mb --memory-swappiness 0
-m 1g --memory-swap -1
-m 1.5GiB
-m 67108864
-m 64b
--kernel-memory 64m
--oom-kill-disable --oom-score-adj -500
--pids-limit 100
--pids-limit -1
--shm-size 128m
--blkio-weight 500 --blkio-weight-device /dev/null:600
--device-read-bps /dev/null:1mb --device-write-bps /dev/null:2m
--device-read-iops /dev/null:100 --device-write-iops /dev/null:200
--cgroup-parent /mine
--device /dev/null --device /dev/zero:/dev/nothing --device /dev/full:/dev/full:r
--device /dev/null:rw
--device vendor.com/class=name
--device-cgroup-rule 'c 1:3 rwm' --device-cgroup-rule 'a *:* rw'
--gpus all
--gpus 2
--gpus device=0
--gpus '"device=0,1"'
--gpus driver=nvidia,count=1,"capabilities=compute"
--gpus 'count=2,"options=a=b,c=d"'
--ulimit nofile=1024 --ulimit nproc=10:20 --ulimit core=-1
--ulimit nofile=1:2 --ulimit nofile=3:4
--log-driver syslog --log-opt syslog-address=udp://1.2.3.4 --log-opt tag=x
--log-driver none
--health-cmd 'test -f /ok' --health-interval 5s --health-retries 4 --health-timeout 1m30s
--health-start-period 300ms --health-start-interval 1.5s
--no-healthcheck
--quiet
-m 1e3 --shm-size "1 m"
--ip 300.1.2.3
--cap-add ALL --cap-add chown --cap-drop CHOWN --cap-drop CAP_KILL
--cap-add chown --cap-drop ALL --cap-drop chown
--cap-add ALL --cap-drop ALL --cap-add NET_RAW
--pull never
""".strip().splitlines()

REFUSED = """
--restart always --rm
--restart :3
--restart on-failure:x
-m lots
-m 1.2.3m
--cpus many
--cpus 0.0000000001
--memory-swappiness 200
--pid nowhere
--uts x
--userns x
--cgroupns x
--network name=mine --network mine
--network host --network mine
--network alias=x
--network host --network-alias x
--network name=mine,alias=x --network-alias y
--network name=mine,ip=1.2.3.4 --ip 1.2.3.5
--network name=mine,bad=1
-p 80:80:80:80
-p a:b
-p 80-90:1-2
-p 1.2.3:80:80
-p 80/xyz
-p 70000
--expose 80:80
--expose abc
--expose 90-80
--add-host nothing
--add-host a:not.an.address
--dns not.an.address
--dns-search _bad_!
--link a:b:c
-v :/x
--mount type=bind,src=/x
--mount dst=/x,bad=1
--mount type=tmpfs,dst=/x,tmpfs-size=huge
--mount type=bind,src=/x,dst=/y,volume-nocopy
--mount type=bind,dst
--mount type=bind,src=/x,dst=/y,ro=maybe
--mount type=bind,src=/x,dst=/y,bind-recursive=readonly
--ulimit nofile
--ulimit nothing=1
--ulimit nofile=5:3
--ulimit nofile=1:2:3
--gpus two
--gpus count=1,count=2
--device-cgroup-rule nonsense
--device-read-bps /dev/null:fast
--device-write-iops /dev/null:1m
--blkio-weight-device /dev/null:5
--blkio-weight-device null:50
--blkio-weight 99999999
--device a:b:c:d
--device /dev/null:/dev/x:zz
--security-opt nonsense
--security-opt seccomp=/does/not/exist
--storage-opt nonsense
--log-driver none --log-opt a=b
--no-healthcheck --health-cmd x
--health-interval -5s
--health-interval 5
--health-interval 5parsecs
--health-retries -1
--stop-timeout soon
--attach nowhere
--sysctl vm.overcommit=1
--mac-address nonsense
-e =x
--env-file missing.env
--env-file bad.env
--label-file missing
-m 1kk
--tty=maybe
--pids-limit 99999999999999999999
--cpu-shares x
--pull sometimes
--annotation
--gpus driver
-p 8080:
--shm-size -1
--shm-size '1  m'
--network ''
--init=x
-z
-itz
--no-such-flag
--no-such-flag=x
""".strip().splitlines()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "vars.env").write_text("# comment\nA=from file\n\n  B=2\nFROM_HERE\nUNSET_HERE\n")
    (tmp_path / "bad.env").write_text("A B=1\n")
    (tmp_path / "labels").write_text("a=from file\nonly\n")
    (tmp_path / "profile.json").write_text('{\n  "defaultAction": "SCMP_ACT_ALLOW",\n  "a": []}\n')
    return tmp_path


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """Sort what Docker's client takes out of Go maps, in no order."""
    result: dict[str, Any] = json.loads(json.dumps(body))
    host = result["HostConfig"]
    for holder, key in ((result, "Env"), (host, "Binds")):
        if holder[key]:
            holder[key] = sorted(holder[key])
    host["Ulimits"] = sorted(host["Ulimits"], key=lambda limit: str(limit["Name"]))
    return result


@pytest.mark.parametrize("line", ["", *ACCEPTED])
def test_the_body_equals_dockers(line: str, home: Path) -> None:
    words = ["create", *shlex.split(line), "busybox", "sh", "-c", "exit 3"]
    with recording(home) as recorder:
        theirs = run([str(DOCKER)], recorder, words, home)
        (home / "cid").unlink(missing_ok=True)
        ours = run(WHERRY, recorder, words, home)
    assert (ours.code, ours.stdout) == (theirs.code, theirs.stdout) == (0, theirs.stdout)
    (their_request,), (our_request,) = theirs.requests, ours.requests
    assert our_request.query == their_request.query
    assert normal(our_request.json) == normal(their_request.json)


@pytest.mark.parametrize("line", REFUSED)
def test_wrong_flags_are_refused_in_the_same_words(line: str, home: Path) -> None:
    words = ["create", *shlex.split(line), "busybox"]
    with recording(home) as recorder:
        theirs = run([str(DOCKER)], recorder, words, home)
        ours = run(WHERRY, recorder, words, home)
    assert (ours.code, ours.stderr) == (theirs.code, as_wherry(theirs.stderr))
    assert ours.requests == []
