"""``--squash``: the layers that a build added, as one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace

from wherry.builder.copying import Item
from wherry.builder.job import Job
from wherry.builder.layertar import layer_tar
from wherry.builder.layertree import LayerTree
from wherry.builder.state import StageState
from wherry.builder.trees import Entry, Kind, Tree
from wherry.storage.merged import status

_WHITEOUT = ".wh."


async def squashed(job: Job, state: StageState) -> StageState:
    """The state with all layers after the base merged into one."""
    added = state.layers[state.base_layers :]
    if len(added) < 2:
        return state
    base, whole = state.layers[: state.base_layers], state.layers
    layer = await asyncio.to_thread(_merge, job, base, whole)
    job.protect(layer)
    history = [dict(line, empty_layer=True) for line in state.history]
    kept = 0
    for line, old in zip(history, state.history, strict=True):
        if not old.get("empty_layer") and kept < state.base_layers:
            kept += 1
            del line["empty_layer"]
    last = {"created": state.created, "comment": "merge of the layers of this build"}
    return replace(state, layers=(*base, layer), history=(*history, last))


def _merge(job: Job, base: tuple[str, ...], whole: tuple[str, ...]) -> str:
    before, after = job.backend.tree(base), job.backend.tree(whole)
    return job.backend.add_layer(layer_tar(_changes(before, after)))


def _changes(before: Tree, after: Tree) -> Iterator[Item]:
    """What leads from one tree to the other, sorted; unchanged files are left out.

    An unchanged directory is told of only before the first change in it: it waits until then.
    """
    pending = [_steps(before, after, "")]
    waiting: list[Item] = []
    while pending:
        step = next(pending[-1], None)
        if step is None:
            pending.pop()
            if waiting and waiting[-1].path.count("/") + 1 == len(pending):
                waiting.pop()
            continue
        item, changed, known = step
        if changed:
            yield from waiting
            waiting.clear()
            yield item
        elif item.entry.is_directory:
            waiting.append(item)
        if item.entry.is_directory:
            pending.append(_steps(before if known else _NOTHING, after, item.path))


def _steps(before: Tree, after: Tree, directory: str) -> Iterator[tuple[Item, bool, bool]]:
    """Each name of a directory: the item, whether it differs, and whether it was there before."""
    old, new = set(before.children(directory)), set(after.children(directory))
    gone = {f"{_WHITEOUT}{name}": name for name in old - new}
    for name in sorted(new | gone.keys()):
        path = f"{directory}/{name}" if directory else name
        if name in gone:
            yield Item(path, Entry(Kind.FILE, 0)), True, True
            continue
        entry = after.entry(path)
        if entry is None:
            continue
        if not entry.is_directory:
            if not _same(before, after, path):
                yield Item(path, entry, after, path), True, True
            continue
        known = before.entry(path)
        changed = known is None or replace(known, mtime=0) != replace(entry, mtime=0)
        yield Item(path, entry), changed, known is not None


def _same(before: Tree, after: Tree, path: str) -> bool:
    if before.entry(path) is None:
        return False
    if isinstance(before, LayerTree) and isinstance(after, LayerTree):
        return os.path.samestat(status(before.host_path(path)), status(after.host_path(path)))
    return False


_NOTHING = LayerTree(())
