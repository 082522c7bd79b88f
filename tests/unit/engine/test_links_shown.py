"""Names by which links call containers: one pass over all gives what a walk for each row gave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wherry.engine import ids
from wherry.engine.config.container import ContainerConfig
from wherry.engine.config.host import HostConfig
from wherry.engine.containers import links
from wherry.engine.containers.container import Container
from wherry.engine.containers.record import Record
from wherry.engine.containers.state import State
from wherry.errors import WherryError
from wherry.network.links import parse_link

NAMES = ("web", "db", "cache", "ab")
"""The last is also how an id begins."""
TARGETS = (*NAMES, "/db", "gone", "ab0", "cd", "a")
GRAPHS = st.lists(
    st.lists(st.tuples(st.sampled_from(TARGETS), st.sampled_from(("", "x", "y"))), max_size=3),
    max_size=len(NAMES),
)


def made(number: int, wanted: list[tuple[str, str]]) -> Container:
    texts = tuple(f"{target}:{alias}" if alias else target for target, alias in wanted)
    identity = ("ab0", "ab1", "cd2", "ef3")[number] + "0" * 61
    record = Record(
        id=identity,
        name=NAMES[number],
        created=0,
        image="",
        platform="linux",
        layers=(),
        driver="overlay",
        config=ContainerConfig(),
        host=HostConfig(links=texts),
        args=("true",),
    )
    return Container(record, State())


@given(GRAPHS)
def test_one_pass_gives_what_a_walk_for_each_gave(graph: list[list[tuple[str, str]]]) -> None:
    containers = [made(number, wanted) for number, wanted in enumerate(graph)]
    known = ids.Ids(one.id for one in containers)
    names = {one.record.name: one.id for one in containers}
    by_id = {one.id: one for one in containers}

    def find(reference: str) -> Container:
        return by_id[ids.find(reference, known, names)]

    def means(target: str, container: Container) -> bool:
        try:
            return find(target) is container
        except WherryError:
            return False

    found = links.aliases(containers, find)
    for container in containers:
        slowly = [
            f"/{other.record.name}/{alias}"
            for other in containers
            for target, alias in map(parse_link, other.record.host.links or ())
            if means(target, container)
        ]
        assert links.names(container, found) == [f"/{container.record.name}", *slowly]
