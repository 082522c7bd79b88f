"""Waiting for containers that are taken over behind."""

from __future__ import annotations

import asyncio

from wherry.engine.containers.adoption import Adoption


async def test_each_is_taken_once_and_who_is_asked_for_comes_first() -> None:
    adoption = Adoption()
    adoption.expect(["a", "b", "c", "d"])
    assert adoption.take() == "a"
    waiting = [asyncio.ensure_future(adoption.of(one)) for one in ("d", "a")]
    await asyncio.sleep(0)
    assert [adoption.take() for _ in range(4)] == ["d", "b", "c", None]
    adoption.done("d")
    await waiting[0]
    assert not waiting[1].done()
    assert [one for one in "abcdx" if adoption.expects(one)] == ["a", "b", "c"]
    adoption.done("a")
    await waiting[1]


async def test_waiting_for_all_waits_for_the_clearing_and_for_each() -> None:
    adoption = Adoption()
    adoption.expect(["a", "b"])
    waiting = asyncio.ensure_future(adoption.all())
    for one in ("a", "b"):
        await asyncio.sleep(0)
        assert not waiting.done()
        adoption.done(one)
    await asyncio.sleep(0)
    assert not waiting.done()
    adoption.cleared.set()
    await waiting


async def test_nobody_waits_for_what_is_not_expected_nor_after_the_end() -> None:
    adoption = Adoption()
    await adoption.of("unknown")
    adoption.expect(["a"])
    waiting = [asyncio.ensure_future(one) for one in (adoption.of("a"), adoption.all())]
    await asyncio.sleep(0)
    adoption.end()
    await asyncio.gather(*waiting)
    await adoption.of("a")


async def test_a_list_waits_for_all_to_have_their_turn_though_not_for_ever() -> None:
    adoption = Adoption()
    adoption.expect(["silent"])
    await adoption.most(0)
    for over in (Adoption.finish, Adoption.end):
        adoption = Adoption()
        adoption.expect(["silent"])
        waiting = asyncio.ensure_future(adoption.most(1000))
        await asyncio.sleep(0)
        assert not waiting.done()
        over(adoption)
        await waiting
