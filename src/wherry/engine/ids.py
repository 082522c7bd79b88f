"""Container ids, names, and finding a container by either."""

from __future__ import annotations

import bisect
import random
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence

from wherry.errors import InvalidParameter, NotFound

_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")

_ADJECTIVES = """
able agile amber ample ardent azure balmy beaming bold brave breezy bright brisk buoyant calm
candid careful cheery clear clever cobalt copper coral cosy crisp daring dapper deft dewy eager
earnest easy even fabled fair fearless fleet fluent fond frank fresh frosty gentle gilded glad
gleaming golden graceful grand hardy hearty hidden honest humble idle ivory jade jaunty jolly
keen kind lasting lively loyal lucid lucky lunar mellow merry mild misty modest neat nimble
noble opal patient peaceful placid plucky polite prime proud quiet rapid ready robust rosy
rustic sage salty serene sharp shining silent silver smooth snug solar sound spry stable steady
sterling stout sturdy sunny supple swift tender tidal tidy topaz tranquil trim true trusty
upbeat valiant vivid warm wary wavy wise witty zesty
"""

_SURNAMES = """
abel agnesi amundsen anning arago babbage banks barents beaufort bering bernoulli boole bose
boyle brahe cabot cantor carson cartier cassini celsius chandra chen columb cook copernicus
coulomb curie cuvier darwin davis dewey dirac drake earhart eiffel ericson euclid euler faraday
fermat fermi fisher flinders fourier franklin frobisher fulton galileo galois gama gauss germain
gibbs goddard goeppert halley hamilton harrison henson herschel hertz hevelius hopper hubble
hudson humboldt huygens hypatia ibn_battuta ibn_majid joliot joule kelvin kepler khayyam
kovalevskaya lagrange langmuir laplace leakey leavitt leibniz linnaeus lovelace magellan
malpighi marconi markham maury maxwell mead meitner mendel mercator moseley nansen napier newton
nightingale noether oersted ohm pascal pasteur peary perrault planck polo ptolemy raman
ramanujan ross rutherford sagan scott shackleton shannon snell somerville tasman tereshkova
tesla thales turing vespucci volta wallace watt weddell wegener wu zheng_he
"""


def new_id() -> str:
    """64 random hex digits; the first 12 are not all decimal, so none reads as a number."""
    while True:
        candidate = secrets.token_hex(32)
        if not candidate[:12].isdecimal():
            return candidate


def random_name(taken: Collection[str]) -> str:
    """A name nobody has, as ``adjective_surname``, with a digit when many are taken."""
    for attempt in range(6):
        name = f"{_one_of(_ADJECTIVES)}_{_one_of(_SURNAMES)}"
        if attempt:
            name += str(random.randrange(10))
        if name not in taken:
            return name
    while (name := f"{_one_of(_ADJECTIVES)}_{secrets.token_hex(4)}") in taken:
        pass
    return name


def _one_of(words: str) -> str:
    return random.choice(words.split())


def check_name(name: str) -> str:
    """``name`` without its slash; raises InvalidParameter in Docker's words."""
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return name.removeprefix("/")


class Ids:
    """Ids in order, so that the beginning of one is found without looking at all."""

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ordered = sorted(ids)

    def __contains__(self, candidate: object) -> bool:
        if not isinstance(candidate, str):
            return False
        place = self._place(candidate)
        return place < len(self._ordered) and self._ordered[place] == candidate

    def _place(self, text: str) -> int:
        return bisect.bisect_left(self._ordered, text)

    def add(self, id: str) -> None:
        """Take an id in."""
        if id not in self:
            bisect.insort(self._ordered, id)

    def discard(self, id: str) -> None:
        """Let an id go, if it is there."""
        if id in self:
            del self._ordered[self._place(id)]

    def beginning_with(self, prefix: str) -> Sequence[str]:
        """Up to two ids that begin so: none, the one that is meant, or one too many."""
        place = self._place(prefix)
        return [one for one in self._ordered[place : place + 2] if one.startswith(prefix)]


def find(reference: str, known: Ids, by_name: Mapping[str, str]) -> str:
    """The id that ``reference`` (id, name or unique beginning of an id) means.

    A full id wins over a name, a name over a prefix. Raises NotFound and InvalidParameter.
    """
    if not reference:
        raise InvalidParameter('invalid name or ID supplied: ""')
    if reference in known:
        return reference
    named = by_name.get(reference.removeprefix("/"))
    if named is not None:
        return named
    matching = known.beginning_with(reference)
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise InvalidParameter(f"multiple IDs found with provided prefix: {reference}")
    raise NotFound(f"No such container: {reference}")
