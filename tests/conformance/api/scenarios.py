"""What the differential test does: short stories of client commands."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One command; ``quiet`` compares the exit code only, ``unordered`` sorts its lines."""

    arguments: tuple[str, ...]
    input: bytes | None = None
    quiet: bool = False
    unordered: bool = False


@dataclass(frozen=True)
class Scenario:
    """Commands in order."""

    name: str
    steps: tuple[Step, ...]


def story(name: str, text: str) -> Scenario:
    """A scenario from lines: ``?`` compares the code only, ``~`` sorts, ``INPUT |`` gives input."""
    steps = []
    for raw in text.strip().splitlines():
        line, quiet, unordered, data = raw.strip(), False, False, None
        if not line:
            continue
        if line.startswith("?"):
            line, quiet = line[1:].strip(), True
        elif line.startswith("~"):
            line, unordered = line[1:].strip(), True
        if line.startswith("<"):
            given, _, line = line[1:].partition("|")
            data = given.strip().encode().decode("unicode_escape").encode()
        steps.append(Step(tuple(shlex.split(line)), data, quiet, unordered))
    return Scenario(name, tuple(steps))


SCENARIOS = (
    story(
        "exit-codes",
        """
        run --rm busybox true
        run --rm busybox false
        run --rm busybox sh -c 'exit 3'
        run --rm busybox sh -c 'kill -9 $$'
        run --rm busybox sh -c 'kill -TERM $$'
        ? run --rm busybox nosuchcommand
        ? run --rm busybox /etc/passwd
        ? run --rm busybox /etc
        ? run --rm --workdir /etc/passwd busybox true
        ? run --rm nosuchimage:never true
        ? run --rm --nosuchflag busybox true
        """,
    ),
    story(
        "streams",
        """
        run --rm busybox echo hi
        run --rm busybox sh -c 'echo out; echo err >&2'
        < data\\nmore\\n | run --rm -i busybox cat
        < 12345 | run --rm -i busybox wc -c
        run --rm -i busybox cat
        run --rm -a stderr busybox sh -c 'echo out; echo err >&2'
        run --rm -t busybox sh -c 'tty; echo hi'
        run --rm -t busybox stty size
        """,
    ),
    story(
        "life",
        """
        create --name life busybox sleep 60
        inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}' life
        start life
        start life
        inspect -f '{{.State.Status}} {{.State.Running}} {{.State.Paused}}' life
        ps --filter name=life --format '{{.Names}} {{.Image}} {{.Command}} {{.State}}'
        pause life
        pause life
        ps --filter name=life --format '{{.Names}} {{.State}}'
        exec life true
        stop -t 1 life
        inspect -f '{{.State.Status}} {{.State.ExitCode}}' life
        start life
        unpause life
        restart -t 0 life
        inspect -f '{{.State.Status}} {{.RestartCount}}' life
        kill -s USR1 life
        kill -s NOSUCH life
        kill life
        wait life
        ? kill life
        unpause life
        inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}' life
        rename life afterlife
        inspect -f '{{.Name}}' afterlife
        inspect life
        rm afterlife
        rm afterlife
        rm -f afterlife
        """,
    ),
    story(
        "names",
        """
        create --name twice busybox
        create --name twice busybox
        create --name 'bad name' busybox
        create --name a busybox
        create --name /slash busybox
        create --name other busybox
        rename other twice
        rename other other
        rename nosuch name
        rename other ''
        rm twice other slash
        """,
    ),
    story(
        "missing-container",
        """
        start nosuch
        stop nosuch
        kill nosuch
        rm nosuch
        logs nosuch
        inspect nosuch
        inspect --type container nosuch
        top nosuch
        stats --no-stream nosuch
        exec nosuch true
        attach nosuch
        wait nosuch
        pause nosuch
        port nosuch
        diff nosuch
        update --memory 64m nosuch
        export nosuch
        cp nosuch:/etc .
        commit nosuch
        """,
    ),
    story(
        "missing-objects",
        """
        rmi nosuch
        ? image inspect nosuch
        history nosuch
        tag nosuch other
        ? save nosuch
        network inspect nosuch
        network rm nosuch
        network connect nosuch nosuch
        volume inspect nosuch
        volume rm nosuch
        """,
    ),
    story(
        "exec",
        """
        run -d --name ex -e A=1 -w /tmp busybox sleep 60
        exec ex true
        exec ex sh -c 'exit 7'
        exec ex sh -c 'kill -9 $$'
        exec -e B=2 ex sh -c 'echo $A $B'
        exec -w /etc ex pwd
        exec ex pwd
        exec -u user ex id
        exec -u 5:6 ex id
        ? exec -u nosuch ex id
        ? exec -w /nosuch ex pwd
        < abc | exec -i ex cat
        exec -t ex tty
        ? exec -d ex touch /tmp/made
        rm -f ex
        exec ex true
        create --name ex2 busybox
        exec ex2 true
        rm ex2
        """,
    ),
    story(
        "logs",
        """
        run --name lo busybox sh -c 'echo err >&2; sleep 0.1; for i in 1 2 3 4; do echo $i; done'
        logs lo
        logs --tail 2 lo
        logs --tail 0 lo
        logs --tail all lo
        logs -t --tail 1 lo
        logs --since 2020-01-01T00:00:00 lo
        logs --since 2100-01-01 lo
        logs --until 2020-01-01 lo
        logs --until 1h lo
        logs -f lo
        logs --details lo
        rm lo
        run --name lo --log-driver none busybox echo hi
        logs lo
        rm lo
        run --name lo --log-driver nosuch busybox echo hi
        ? rm lo
        run --name lo --log-opt labels=x --label x=1 busybox echo hi
        logs --details lo
        rm lo
        run -t --name lo busybox echo hi
        logs lo
        rm lo
        """,
    ),
    story(
        "inspect",
        """
        create --name insp -e K=V -l a=b -w /tmp -u user --hostname box --entrypoint echo busybox hi
        inspect -f '{{json .Config.Env}} {{json .Config.Cmd}} {{json .Config.Entrypoint}}' insp
        inspect -f '{{json .Config.Labels}} {{.Config.WorkingDir}} {{.Config.User}}' insp
        inspect -f '{{.Config.Hostname}} {{.Config.Image}} {{.Path}} {{json .Args}}' insp
        inspect -f '{{.Config.Tty}} {{.Config.OpenStdin}} {{.Config.AttachStdout}}' insp
        inspect -f '{{json .HostConfig.RestartPolicy}}' insp
        inspect -f '{{.HostConfig.ShmSize}} {{.HostConfig.IpcMode}}' insp
        inspect -f '{{json .HostConfig.LogConfig}}' insp
        inspect -f '{{json .HostConfig.ReadonlyPaths}} {{.HostConfig.PidMode}}' insp
        inspect -f '{{json .HostConfig.Binds}} {{json .HostConfig.PortBindings}}' insp
        inspect -f '{{json .HostConfig.CapAdd}} {{json .HostConfig.Dns}} {{json .Mounts}}' insp
        inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' insp
        inspect -f '{{json .HostConfig.Devices}} {{json .HostConfig.Ulimits}}' insp
        inspect -f '{{.HostConfig.AutoRemove}} {{.HostConfig.Privileged}}' insp
        inspect -f '{{json .HostConfig.SecurityOpt}} {{.HostConfig.ReadonlyRootfs}}' insp
        inspect -f '{{json .HostConfig.OomKillDisable}} {{.HostConfig.OomScoreAdj}}' insp
        inspect -f '{{.State.Status}} {{.State.StartedAt}} {{.State.FinishedAt}}' insp
        inspect -f '{{.Platform}} {{.RestartCount}} {{json .ExecIDs}}' insp
        inspect -f '{{json .NetworkSettings.Ports}} {{.NetworkSettings.IPAddress}}' insp
        inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}' insp
        start -a insp
        inspect -f '{{.State.Status}} {{.State.ExitCode}}' insp
        rm insp
        """,
    ),
    story(
        "inside",
        """
        run --rm --hostname box busybox hostname
        run --rm --hostname box busybox sh -c 'grep -c box /etc/hosts'
        run --rm busybox sh -c 'echo $$'
        run --rm -u user busybox id
        run --rm -u 1:2 --group-add 3 busybox id
        run --rm -w /new/folder busybox pwd
        run --rm -e A=b -e HOME= busybox sh -c 'echo $A $HOME'
        run --rm busybox env -u HOSTNAME env
        run --rm --read-only busybox touch /x
        run --rm --tmpfs /t:size=1m,mode=700 busybox sh -c 'stat -c %a /t; df -k /t | tail -1'
        run --rm --shm-size 2m busybox df -k /dev/shm
        run --rm --ulimit nofile=100:200 busybox sh -c 'ulimit -n; ulimit -Hn'
        run --rm --cap-drop ALL busybox grep Cap /proc/self/status
        run --rm busybox grep CapEff /proc/self/status
        run --rm --cap-add NET_ADMIN busybox grep CapEff /proc/self/status
        run --rm --security-opt no-new-privileges busybox grep NoNewPrivs /proc/self/status
        run --rm busybox grep Seccomp: /proc/self/status
        run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status
        run --rm --sysctl net.ipv4.ip_forward=0 busybox cat /proc/sys/net/ipv4/ip_forward
        run --rm --network none busybox ls /sys/class/net
        run --rm busybox sh -c 'ls /dev | grep -v core'
        run --rm busybox mount -t tmpfs x /mnt
        ~ run --rm --dns 9.9.9.9 --dns-search a.org --dns-opt ndots:2 busybox cat /etc/resolv.conf
        run --rm --add-host a:1.2.3.4 busybox grep 1.2.3.4 /etc/hosts
        run --rm --init busybox sh -c 'cat /proc/1/comm | head -c 6'
        run --rm --pid host busybox sh -c 'test $$ -gt 1'
        run --rm --uts host busybox true
        run --rm --device /dev/null:/dev/mynull busybox stat -c %t:%T:%a /dev/mynull
        run --rm -v /etc:/host:ro busybox touch /host/x
        run --rm --oom-score-adj 100 busybox cat /proc/self/oom_score_adj
        """,
    ),
    story(
        "bad-requests",
        """
        create --memory 1 busybox
        create --memory 4m --memory-swap 2m busybox
        create --cpus 1000 busybox
        create --cpuset-cpus 999 busybox
        create --network nosuch busybox
        ? create --restart sometimes busybox
        create --restart always --rm busybox
        create --cap-add NOSUCH busybox
        create --security-opt nosuch busybox
        create --device /dev/nosuch busybox
        create --ulimit nosuch=1 busybox
        create --volumes-from nosuch busybox
        create --pid nosuch busybox
        create --pid container:nosuch busybox
        create --network container:nosuch busybox
        create --log-opt nosuch=1 busybox
        create --stop-signal NOSUCH busybox
        create --sysctl bad busybox
        ? create --runtime nosuch busybox
        create -v relative:/x:zz busybox
        create -v /a:b busybox
        create --tmpfs rel busybox
        create --shm-size -1 busybox
        create --health-interval 1us --health-cmd true busybox
        create --hostname 'bad_host!' busybox
        ? container prune -f
        """,
    ),
    story(
        "ps",
        """
        create --name one -l k=v busybox
        run -d --name two busybox sleep 60
        run --name three busybox sh -c 'exit 4'
        ~ ps -a --format '{{.Names}} {{.State}} {{.Image}} {{.Command}} {{.Labels}}'
        ps --format '{{.Names}}'
        ps -a -n 1 --format '{{.Names}}'
        ps -l --format '{{.Names}}'
        ps -a --filter status=exited --format '{{.Names}}'
        ps -a --filter status=created --format '{{.Names}}'
        ps -a --filter exited=4 --format '{{.Names}} {{.Status}}'
        ps -a --filter label=k --format '{{.Names}}'
        ps -a --filter label=k=w --format '{{.Names}}'
        ps -a --filter name=t --format '{{.Names}}'
        ps -a --filter name=^/two$ --format '{{.Names}}'
        ~ ps -a --filter ancestor=busybox --format '{{.Names}}'
        ps -a --filter before=two --format '{{.Names}}'
        ps -a --filter since=two --format '{{.Names}}'
        ps -a --filter status=nosuch
        ps -a --filter nosuch=1
        ? ps -a --filter exited=x
        ps -a --filter is-task=maybe
        ~ ps -a --filter network=bridge --format '{{.Names}}'
        ps -a --filter volume=nosuch --format '{{.Names}}'
        ps -a --filter health=none --filter name=one --format '{{.Names}}'
        rm -f one two three
        """,
    ),
    story(
        "images",
        """
        tag busybox other:1
        tag busybox other:1
        tag busybox UPPER:1
        tag busybox bad:::1
        images --format '{{.Repository}}:{{.Tag}}' other
        images -q --no-trunc other:1
        images --filter reference=oth* --format '{{.Repository}}'
        images --filter dangling=true
        images --filter nosuch=1
        images --filter dangling=maybe
        image inspect -f '{{json .RepoTags}} {{json .Config.Cmd}} {{.Os}} {{.Architecture}}' busybox
        image inspect -f '{{json .RepoDigests}} {{.RootFS.Type}} {{len .RootFS.Layers}}' busybox
        history --format '{{.Comment}} {{.CreatedBy}}' busybox
        create --name user other:1
        rmi other:1
        rmi busybox
        rm user
        rmi other:1
        """,
    ),
    story(
        "commit-diff-cp",
        """
        run --name cdc busybox sh -c 'echo x > /tmp/f; rm /etc/group; mkdir /new'
        ~ diff cdc
        commit -m msg -a me --change 'CMD ["cat", "/tmp/f"]' --change 'ENV Z=1' cdc made:1
        run --rm made:1
        image inspect -f '{{json .Config.Cmd}} {{json .Config.Env}} {{.Comment}} {{.Author}}' made:1
        history --format '{{.Comment}}' made:1
        ? cp cdc:/tmp/f -
        cp cdc:/nosuch -
        cp /etc/hostname cdc:/new/name
        cp /etc/hostname cdc:/nosuch/name
        ? export cdc
        rm cdc
        ? rmi made:1
        """,
    ),
    story(
        "volumes",
        """
        volume create vol
        volume create vol
        volume create --label a=b --opt type=tmpfs --opt device=tmpfs vol2
        volume ls -q
        volume ls --filter label=a --format '{{.Name}} {{.Driver}}'
        volume ls --filter dangling=true -q
        volume ls --filter nosuch=x
        volume inspect -f '{{.Name}} {{.Driver}} {{json .Labels}} {{json .Options}} {{.Scope}}' vol2
        volume create --driver nosuch vol3
        volume create 'bad name'
        run --rm -v vol:/data busybox sh -c 'echo kept > /data/f'
        run --rm -v vol:/data:ro busybox cat /data/f
        run --rm -v vol:/data:ro busybox touch /data/x
        create --name user -v vol:/data -v /anon busybox
        ~ inspect -f '{{range .Mounts}}{{println .Type .Destination .RW .Driver}}{{end}}' user
        volume rm vol
        rm -v user
        volume rm vol vol2
        """,
    ),
    story(
        "networks",
        """
        network create net
        network create net
        network create --driver nosuch net2
        network create --subnet 10.99.0.0/24 --gateway 10.99.0.1 net3
        ? network create --subnet 10.99.0.0/24 net4
        ? network create --subnet bad net5
        network ls --filter name=net3 --format '{{.Name}} {{.Driver}} {{.Scope}}'
        network inspect -f '{{.Name}} {{.Driver}} {{json .IPAM.Config}} {{.Internal}}' net3
        run -d --name n1 --network net --network-alias nick busybox sleep 60
        ? run --rm --network net busybox ping -c 1 -q n1
        ? run --rm --network net busybox ping -c 1 -q nick
        run --rm --network net3 --ip 10.99.0.77 busybox hostname -i
        network connect net3 n1
        network connect net3 n1
        network disconnect net3 n1
        network disconnect net3 n1
        ? network rm net
        network rm bridge
        network connect host n1
        rm -f n1
        network rm net net3
        network ls --filter driver=host --format '{{.Name}}'
        """,
    ),
    story(
        "ports",
        """
        create --name po -p 127.0.0.1:48080:80 -p 48053:53/udp busybox sleep 60
        inspect -f '{{json .HostConfig.PortBindings}}' po
        ? start po
        ~ port po
        port po 80
        port po 99
        rm -f po
        run --rm -p 99999:80 busybox true
        """,
    ),
    story(
        "published-ports",
        """
        run -d --name pub -p 127.0.0.1:48180:80 -p 127.0.0.1:48190-48192:90-92 busybox sleep 60
        port pub
        port pub 90/udp
        ps --filter name=pub --format '{{.Ports}}'
        inspect -f '{{json .NetworkSettings.Ports}}' pub
        ps --filter publish=48180 --format '{{.Names}}'
        ps --filter publish=80 --format '{{.Names}}'
        ps --filter publish=48000-49000/udp --format '{{.Names}}'
        ps --filter expose=80-92/tcp --format '{{.Names}}'
        rm -f pub
        create --name pub -P --expose 77 --expose 80-82/udp busybox
        inspect -f '{{json .Config.ExposedPorts}} {{.HostConfig.PublishAllPorts}}' pub
        ps -a --filter expose=77 --format '{{.Names}}'
        rm pub
        create -p abc busybox
        create -p 80/xyz busybox
        create --link nosuch:a busybox
        create --volumes-from '' busybox
        """,
    ),
    story(
        "what-is-not-there",
        """
        network create --label a=b --internal --attachable nt
        network ls --filter label=a --format '{{.Name}} {{.Internal}} {{.Labels}}'
        network ls --filter type=custom --format '{{.Name}}'
        network ls --filter nosuch=1
        network disconnect nt nosuch
        network connect nt nosuch
        network rm nt nosuch
        volume create --label a=b vt
        volume ls --filter label=a=c -q
        volume ls --filter driver=nosuch -q
        volume inspect -f '{{.Name}}' vt nosuch
        volume rm vt nosuch
        volume rm -f nosuch
        rename nosuch other
        cp nosuch:/x .
        image rm --no-prune nosuch
        push nosuch
        history nosuch:1
        import /nosuch
        commit --change 'BAD x' nosuch
        """,
    ),
    story(
        "top-stats",
        """
        run -d --name ts busybox sleep 60
        ? top ts
        top ts -o comm,args
        top ts -o pid=
        ? stats --no-stream ts
        rm -f ts
        create --name ts busybox
        top ts
        ? stats --no-stream ts
        rm ts
        """,
    ),
    story(
        "update",
        """
        run -d --name up -m 64m --memory-swap 128m busybox sleep 60
        update --memory 32m up
        update --cpu-shares 512 --pids-limit 50 up
        update --restart always up
        inspect -f '{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}}' up
        inspect -f '{{.HostConfig.RestartPolicy.Name}}' up
        update --memory 1 up
        update up
        rm -f up
        """,
    ),
    story(
        "swarm-and-plugins",
        """
        swarm leave
        node ls
        service ls
        secret ls
        config ls
        plugin ls
        stack ls
        """,
    ),
    story(
        "health",
        """
        create --name he --health-cmd true --health-interval 1s --health-retries 2 busybox sleep 60
        inspect -f '{{json .Config.Healthcheck}}' he
        ps -a --filter name=he --format '{{.Status}}'
        ? start he
        inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}}' he
        rm -f he
        """,
    ),
    story(
        "removal",
        """
        run -d --name re busybox sleep 60
        ? rm re
        rm -f re
        run -d --rm --name re busybox sleep 60
        stop -t 0 re
        rm -f
        """,
    ),
)
