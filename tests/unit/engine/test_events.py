import asyncio
import time
from pathlib import Path

import pytest

from wherry.engine import events
from wherry.engine.eventjournal import EventJournal
from wherry.engine.events import KEEP, Event, EventBus, matches
from wherry.engine.filters import parse
from wherry.storage.statedb import StateDB
from wherry.timestamps import SECOND


async def collect(bus: EventBus, **options: object) -> list[str]:
    with bus.subscribe(**options) as events:  # type: ignore[arg-type]
        return [event.action async for event in events]


async def test_replay_and_live_events_join_without_gap(tmp_path: Path) -> None:
    bus = EventBus(StateDB(str(tmp_path / "state.db")))
    bus.publish("container", "create", "c1", {"image": "busybox"})
    with bus.subscribe(since=0) as events:
        bus.publish("container", "start", "c1")
        assert [(await anext(events)).action for _ in range(2)] == ["create", "start"]
        bus.publish("container", "die", "c1")
        assert (await anext(events)).action == "die"
    with bus.subscribe() as only_new:
        bus.publish("container", "destroy", "c1")
        assert (await anext(only_new)).action == "destroy"
    bus.close()


async def test_history_outlives_the_process(tmp_path: Path) -> None:
    db = StateDB(str(tmp_path / "state.db"))
    bus = EventBus(db)
    first = bus.publish("image", "tag", "sha256:1", {"name": "a:b"})
    bus.close()
    again = EventBus(db)
    with again.subscribe(since=0, until=time.time_ns()) as events:
        assert [event async for event in events] == [first]
    again.close()


async def test_a_past_until_ends_the_stream(tmp_path: Path) -> None:
    bus = EventBus(StateDB(":memory:"))
    middle = bus.publish("container", "create", "c1").time
    bus.publish("container", "start", "c1")
    assert await collect(bus, since=0, until=middle) == ["create"]
    assert await collect(bus, until=time.time_ns()) == ["create", "start"]
    bus.close()


async def test_a_future_until_waits_and_ends(tmp_path: Path) -> None:
    bus = EventBus(StateDB(":memory:"))
    task = asyncio.create_task(collect(bus, until=time.time_ns() + SECOND // 5))
    await asyncio.sleep(0)
    bus.publish("container", "start", "c1")
    assert await task == ["start"]
    bus.close()


async def test_subscriptions_can_be_ended() -> None:
    bus = EventBus(StateDB(":memory:"))
    with bus.subscribe() as events:
        assert bus.listeners == 1
        bus.publish("container", "start", "c1")
        bus.end_subscriptions()
        assert [event.action async for event in events] == ["start"]
    assert bus.listeners == 0
    bus.close()


async def test_only_the_latest_history_is_kept(tmp_path: Path) -> None:
    db = StateDB(":memory:")
    bus = EventBus(db)
    for number in range(KEEP + 10):
        bus.publish("container", f"a{number}", "c")
    bus.close()
    assert db.query("SELECT COUNT(*) AS n FROM events")[0]["n"] == KEEP
    assert await collect(EventBus(db), until=time.time_ns()) == [
        f"a{number}" for number in range(10, KEEP + 10)
    ]


async def test_times_ascend_strictly() -> None:
    bus = EventBus(StateDB(":memory:"))
    times = [bus.publish("container", "x", "c").time for _ in range(100)]
    assert times == sorted(set(times))
    bus.close()


def test_the_view_has_the_fields_of_old_clients() -> None:
    event = Event(1_500_000_000, "container", "start", "c1", {"image": "busybox", "name": "web"})
    assert event.view() == {
        "status": "start",
        "id": "c1",
        "from": "busybox",
        "Type": "container",
        "Action": "start",
        "Actor": {"ID": "c1", "Attributes": {"image": "busybox", "name": "web"}},
        "scope": "local",
        "time": 1,
        "timeNano": 1_500_000_000,
    }
    assert "status" not in Event(1, "network", "connect", "n").view()


def test_filters() -> None:
    start = Event(1, "container", "start", "c1f00", {"image": "busybox:1", "name": "web", "k": "v"})
    health = Event(2, "container", "health_status: healthy", "c1f00", {"name": "web"})
    tag = Event(3, "image", "tag", "sha256:1", {"name": "busybox:1"})

    def passes(event: Event, text: str) -> bool:
        return matches(event, parse(text))

    assert passes(start, '{"container":["web"]}')
    assert passes(start, '{"container":["c1f"]}')
    assert not passes(tag, '{"container":["web"]}')
    assert passes(start, '{"image":["busybox"]}')
    assert passes(tag, '{"image":["busybox"],"type":["image"]}')
    assert not passes(start, '{"event":["star"]}')
    assert passes(health, '{"event":["health_status"]}')
    assert passes(start, '{"label":["k=v"]}')
    assert not passes(start, '{"label":["k=w"]}')
    assert not passes(start, '{"scope":["swarm"]}')


async def test_a_killed_process_has_lost_no_event(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    db = StateDB(str(tmp_path / "state.db"))
    bus = EventBus(db, EventJournal(str(path)))
    bus.publish("container", "create", "1", {"name": "a"})
    bus.flush()
    bus.publish("container", "start", "1", {"name": "a"})
    with path.open("a") as journal:
        journal.write('{"time": torn')
    again = EventBus(db, EventJournal(str(path)))
    found = await collect(again, until=time.time_ns())
    assert found == ["create", "start"]
    assert path.read_bytes() == b""
    third = EventBus(db, EventJournal(str(path)))
    assert len(await collect(third, until=time.time_ns())) == 2


async def test_the_journal_keeps_only_what_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FLUSH_DELAY", 0.01)
    path = tmp_path / "journal"
    bus = EventBus(StateDB(str(tmp_path / "state.db")), EventJournal(str(path)))
    for number in range(5):
        bus.publish("container", "start", str(number))
    assert path.read_bytes().count(b"\n") == 5
    for _ in range(3000):
        if not path.read_bytes():
            break
        await asyncio.sleep(0.01)
    bus.publish("container", "die", "1")
    bus.close()
    assert path.read_bytes() == b""
