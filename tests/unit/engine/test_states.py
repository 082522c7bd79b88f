"""States and what follows from them: transitions, ps texts, restarts, health, names."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.engine import changes, detach, ids
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig, RestartPolicy
from wherry.engine.containers import aftermath
from wherry.engine.containers.files import absolute, file_mode, shown_name
from wherry.engine.containers.health import Health, Result, command
from wherry.engine.containers.state import TRANSITIONS, State, Status, human_duration
from wherry.errors import Conflict, InvalidParameter, NotFound
from wherry.timestamps import SECOND

STATUSES = get_args(Status)


@given(st.lists(st.sampled_from(STATUSES), max_size=12))
def test_a_state_moves_only_as_the_table_says(moves: list[Status]) -> None:
    state = State()
    for status in moves:
        if status in TRANSITIONS[state.status]:
            state = state.to(status)
            assert State.from_json(state.to_json()) == state
        else:
            with pytest.raises(Conflict):
                state.to(status)


def test_nothing_that_runs_can_be_removed_directly() -> None:
    assert all("removing" not in TRANSITIONS[one] for one in ("running", "paused"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
        (125, "2 minutes"), (3600, "About an hour"), (7200, "2 hours"), (86400 * 3, "3 days"),
        (86400 * 20, "2 weeks"), (86400 * 100, "3 months"), (86400 * 800, "2 years"),
    ],
)  # fmt: skip
def test_durations_as_ps_tells_them(seconds: float, text: str) -> None:
    assert human_duration(int(seconds * SECOND)) == text


def test_ps_texts() -> None:
    now = 100 * SECOND
    assert State().summary(now) == "Created"
    assert State("exited", exit_code=3, finished=now).summary(now).startswith("Exited (3) Less")
    assert State("running", started=now - 5 * SECOND).summary(now, "starting") == (
        "Up 5 seconds (health: starting)"
    )
    assert State("paused", started=now - 5 * SECOND).summary(now) == "Up 5 seconds (Paused)"


@pytest.mark.parametrize(
    ("policy", "code", "count", "by_user", "again"),
    [
        ("no", 1, 0, False, False),
        ("always", 0, 9, False, True),
        ("always", 0, 0, True, False),
        ("unless-stopped", 0, 0, False, True),
        ("on-failure", 0, 0, False, False),
        ("on-failure", 1, 1, False, True),
        ("on-failure", 1, 2, False, False),
    ],
)
def test_restart_policies(policy: str, code: int, count: int, by_user: bool, again: bool) -> None:
    most = 2 if policy == "on-failure" else 0
    chosen = RestartPolicy(policy, most)
    assert aftermath.wanted(chosen, code, count, stopped_by_user=by_user) is again


def _after(
    policy: str = "no", *, auto_remove: bool = False, claimed: bool = False, closing: bool = False,
    by_user: bool = False, ran: int = SECOND, delay: float = 0.0,
) -> aftermath.Next:  # fmt: skip
    host = HostConfig(auto_remove=auto_remove, restart_policy=RestartPolicy(policy, 0))
    state = State("running", stopped_by_user=by_user)
    return aftermath.after_end(
        host, state, 1, ran=ran, delay=delay, claimed=claimed, closing=closing
    )


def test_what_follows_an_end() -> None:
    assert _after() == aftermath.REST
    assert _after("always") == aftermath.Next("restart", 0.1)
    assert _after("always", delay=0.4) == aftermath.Next("restart", 0.8)
    assert _after("always", by_user=True) == aftermath.REST
    assert _after(auto_remove=True) == aftermath.Next("remove")


def test_nothing_follows_by_itself_while_somebody_has_it_in_hand() -> None:
    assert _after("always", claimed=True) == aftermath.REST
    assert _after(auto_remove=True, claimed=True) == aftermath.REST


def test_an_engine_that_closes_starts_nothing_but_removes() -> None:
    assert _after("always", closing=True) == aftermath.REST
    assert _after(auto_remove=True, closing=True) == aftermath.Next("remove")


def test_always_means_even_what_was_stopped_when_the_engine_opens() -> None:
    always, unless = RestartPolicy("always", 0), RestartPolicy("unless-stopped", 0)
    assert aftermath.wanted_at_opening(always, 0, 0, stopped_by_user=True)
    assert not aftermath.wanted_at_opening(unless, 0, 0, stopped_by_user=True)


def test_delays_double_up_to_a_minute_and_start_over_after_a_steady_run() -> None:
    delays = [0.0]
    for _ in range(12):
        delays.append(aftermath.next_delay(delays[-1], SECOND))
    assert delays[1:4] == [0.1, 0.2, 0.4]
    assert delays[-1] == 60.0
    assert aftermath.next_delay(60.0, 10 * SECOND) == 0.1


def test_health_counts_failures_after_the_start_period_and_keeps_five_results() -> None:
    good, bad = Result(0, 1, 0, ""), Result(0, 1, 1, "no")
    health = Health()
    assert health.after(bad, 2, starting=True).streak == 0
    once = health.after(bad, 2, starting=False)
    assert (once.status, once.streak) == ("starting", 1)
    twice = once.after(bad, 2, starting=False)
    assert twice.status == "unhealthy"
    recovered = twice.after(good, 2, starting=False)
    assert (recovered.status, recovered.streak) == ("healthy", 0)
    for _ in range(9):
        recovered = recovered.after(good, 2, starting=False)
    assert len(recovered.results) == 5
    ended = recovered.ended()
    assert (ended.status, ended.results) == ("unhealthy", recovered.results)


def test_health_commands() -> None:
    def of(test: tuple[str, ...]) -> tuple[str, ...]:
        from wherry.engine.config.container import HealthConfig

        return tuple(command(ContainerConfig(healthcheck=HealthConfig(test=test))))

    assert of(("CMD", "a", "b")) == ("a", "b")
    assert of(("CMD-SHELL", "a b")) == ("/bin/sh", "-c", "a b")
    assert of(("NONE",)) == ()


def test_finding_by_id_name_and_prefix() -> None:
    first, second = "abc" + "0" * 61, "abd" + "0" * 61
    known = ids.Ids([second, first])
    names = {"web": first, "abd": first}
    assert ids.find("/web", known, names).startswith("abc")
    assert ids.find("abc", known, names).startswith("abc")
    assert ids.find("abd", known, names).startswith("abc"), "a name wins over a prefix"
    with pytest.raises(InvalidParameter, match="multiple IDs found with provided prefix: ab"):
        ids.find("ab", known, names)
    with pytest.raises(InvalidParameter, match='invalid name or ID supplied: ""'):
        ids.find("", known, names)
    for missing in ("zz", "abcd"):
        with pytest.raises(NotFound, match=f"No such container: {missing}"):
            ids.find(missing, known, names)


def test_names_are_free_and_valid() -> None:
    taken: set[str] = set()
    for _ in range(300):
        name = ids.random_name(taken)
        assert name not in taken
        assert ids.check_name(name) == name
        taken.add(name)


@pytest.mark.parametrize("name", ["", "a", "-a", "a b", "a/b", "ä1", "/", "a\n"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid container name"):
        ids.check_name(name)


def test_detach_keys() -> None:
    assert detach.parse_keys(None) == b"\x10\x11"
    assert detach.parse_keys("a,ctrl-[,DEL") == b"a\x1b\x7f"
    with pytest.raises(InvalidParameter):
        detach.parse_keys("ctrl-1")


@pytest.mark.parametrize(
    ("path", "parts", "name"),
    [
        ("/etc/passwd", ("/etc", "passwd"), "passwd"),
        ("etc", ("/", "etc"), "etc"),
        ("/etc/", ("/etc", ""), "etc"),
        ("/etc/.", ("/etc", "."), "."),
        ("/", ("/", ""), "/"),
        ("/../../etc", ("/", "etc"), "etc"),
    ],
)
def test_paths_of_cp(path: str, parts: tuple[str, str], name: str) -> None:
    assert (absolute(path), shown_name(path)) == (parts, name)


def test_modes_are_go_s() -> None:
    assert file_mode(0o040755) == 1 << 31 | 0o755
    assert file_mode(0o104755) == 1 << 23 | 0o755
    assert file_mode(0o120777) == 1 << 27 | 0o777


def test_changes_of_commit() -> None:
    config = changes.apply(
        ContainerConfig(env=("A=1",), working_dir="/srv"),
        ['ENV A="x y" B=2', "CMD echo hi", "WORKDIR app", "EXPOSE 80", "LABEL k=v", "USER 5"],
    )
    assert config.env == ("A=x y", "B=2")
    assert config.cmd == ("/bin/sh", "-c", "echo hi")
    assert (config.working_dir, config.exposed_ports, config.user) == ("/srv/app", ("80/tcp",), "5")
    with pytest.raises(InvalidParameter, match="RUN is not a valid change command"):
        changes.apply(config, ["RUN true"])
    with pytest.raises(InvalidParameter, match="ODD is not a valid change command"):
        changes.apply(config, ["ODD x"])
    assert changes.apply(config, ["ENV A=1 \\\n B=2"]).env == ("A=1", "B=2")
    with pytest.raises(InvalidParameter, match="invalid containerPort"):
        changes.apply(config, ["EXPOSE x"])


def test_changes_see_variables_and_the_command_before_an_entrypoint() -> None:
    config = ContainerConfig(env=("HOME=/h",), cmd=("old",))
    changed = changes.apply(
        config,
        ["ENV A=$HOME/a", "WORKDIR $A", "EXPOSE 1-2", 'CMD ["new"]', 'ENTRYPOINT ["sh"]'],
    )
    assert changed.env == ("HOME=/h", "A=/h/a")
    assert changed.working_dir == "/h/a"
    assert changed.exposed_ports == ("1/tcp", "2/tcp")
    assert (changed.entrypoint, changed.cmd) == (("sh",), ("new",))
    assert changes.apply(config, ['ENTRYPOINT ["sh"]']).cmd is None
