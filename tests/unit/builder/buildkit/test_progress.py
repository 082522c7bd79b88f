from __future__ import annotations

import asyncio

from wherry.builder.backend import CommandFailed
from wherry.builder.buildkit.progress import Feed, VertexOutput
from wherry.builder.buildkit.wire.control_pb2 import StatusResponse, Vertex
from wherry.builder.progress import Title


async def news_of(feed: Feed) -> list[StatusResponse]:
    return [news async for news in feed.watch()]


def last_states(news: list[StatusResponse]) -> dict[str, Vertex]:
    return {vertex.name: vertex for item in news for vertex in item.vertexes}


async def test_the_first_watcher_misses_nothing() -> None:
    feed = Feed("ref")
    with feed.step("early"):
        pass
    watching = asyncio.create_task(news_of(feed))
    await asyncio.sleep(0)
    with feed.step("late") as vertex:
        vertex.log(b"said")
    feed.close()
    news = await watching
    states = last_states(news)
    assert list(states) == ["early", "late"]
    assert all(vertex.HasField("completed") for vertex in states.values())
    assert [log.msg for item in news for log in item.logs] == [b"said"]


async def test_a_later_watcher_gets_the_present_state() -> None:
    feed = Feed("ref")
    with feed.step("done"):
        pass
    feed.close()
    await news_of(feed)
    (news,) = await news_of(feed)
    assert [vertex.name for vertex in news.vertexes] == ["done"]


async def test_steps_become_vertexes() -> None:
    feed = Feed("ref")
    lane = VertexOutput(feed, ["sha256:definition"]).lane()
    lane.step(Title(1, 4, "FROM busybox", "base", 1, 3, 1))
    lane.result("sha256:1")
    lane.step(Title(2, 4, "ENV a=b", "base", 0, 3, 2))
    lane.result("sha256:2")
    lane.step(Title(3, 4, "RUN  one \\\n  two", "base", 2, 3, 3))
    lane.ready()
    lane.cached()
    lane.result("sha256:3")
    lane.step(Title(4, 4, "COPY a b", "base", 3, 3, 5))
    lane.ready()
    lane.result("sha256:4")
    lane.finish()
    feed.close()
    states = last_states(await news_of(feed))
    assert list(states) == [
        "[base 1/3] FROM busybox",
        "[base 2/3] RUN one \\",
        "[base 3/3] COPY a b",
    ]
    first, second, third = states.values()
    assert list(first.inputs) == ["sha256:definition"]
    assert list(second.inputs) == [first.digest]
    assert list(third.inputs) == [second.digest]
    assert [vertex.cached for vertex in states.values()] == [False, True, False]


async def test_a_failed_step_is_told_once_with_its_line() -> None:
    feed = Feed("ref")
    output = VertexOutput(feed, ())
    lane = output.lane()
    lane.step(Title(2, 2, "RUN false", "", 2, 2, 7))
    lane.ready()
    lane.wrote(b"x")
    lane.failed(CommandFailed("/bin/sh -c false", 1))
    lane.finish()
    other = output.lane()
    other.step(Title(2, 2, "RUN sleep", "", 2, 2, 9))
    other.failed(asyncio.CancelledError())
    feed.close()
    states = last_states(await news_of(feed))
    message = 'process "/bin/sh -c false" did not complete successfully: exit code: 1'
    assert states["[2/2] RUN false"].error == message
    assert output.failed_line == 7
    assert output.failed_vertex == states["[2/2] RUN false"].digest


async def test_output_without_end_is_clipped() -> None:
    feed = Feed("ref")
    with feed.step("loud") as vertex:
        for _ in range(40):
            vertex.log(b"x" * 100_000)
    feed.close()
    logs = [log.msg for news in await news_of(feed) for log in news.logs]
    assert sum(map(len, logs)) < 2_200_000
    assert b"log limit 2MiB reached" in logs[-1]


async def test_pulls_are_parts_of_their_step() -> None:
    feed = Feed("ref")
    lane = VertexOutput(feed, ()).lane()
    lane.step(Title(1, 1, "FROM x", "", 1, 1, 1))
    lane.emit({"status": "Downloading", "id": "abc", "progressDetail": {"current": 3, "total": 9}})
    lane.emit({"status": "Pull complete", "id": "abc"})
    lane.emit({"stream": "classic"})
    lane.result("")
    feed.close()
    first, second = (status for news in await news_of(feed) for status in news.statuses)
    assert (first.id, first.current, first.total) == ("pulling abc", 3, 9)
    assert second.HasField("completed")
