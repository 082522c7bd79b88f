"""What a build does with cache images: take their steps in before, send its own afterwards."""

from __future__ import annotations

import asyncio

from wherry.builder.backend import BaseImage
from wherry.builder.imagecache import CacheTarget, cache_image, carried_steps
from wherry.builder.job import Job
from wherry.builder.state import StageState
from wherry.errors import WherryError


async def take_in(job: Job) -> None:
    """Find the images of ``--cache-from``; one that cannot be had is told and left out."""
    request = job.request
    for name in request.cache_from:
        try:
            image = await asyncio.to_thread(job.backend.local_image, name)
            if image is None and name in request.cache_pulled:
                image = await job.backend.base_image(
                    name, None, pull=False, emit=lambda _: None, credentials=request.credentials
                )
        except WherryError as error:
            job.output.text(f"[Warning] cache from {name}: {error}\n")
            continue
        if image is not None:
            for layer in image.layers:
                job.protect(layer)
            job.images.append(image)
            _import(job, image)


def _import(job: Job, image: BaseImage) -> None:
    for step in carried_steps(image):
        if job.cache.get(step.key) or (step.layer and not job.backend.has_layer(step.layer)):
            continue
        if step.layer:
            job.backend.hold_layer(f"build:{step.key}", step.layer)
        job.cache.store(
            step.key,
            "",
            {},
            kind=step.kind,
            layer=step.layer,
            created=step.created,
            size=step.size,
            seconds=step.seconds,
            description=step.description,
        )


async def send(job: Job, target: CacheTarget, chain: set[int], state: StageState) -> None:
    """Make an image of this build's steps, and push it if the target is a registry."""
    keys = dict.fromkeys(key for stage, key in job.done if target.everything or stage in chain)
    steps = [step for step in map(job.cache.get, keys) if step is not None]
    config = cache_image(steps, state.platform, state.created)
    image = await asyncio.to_thread(job.backend.create_image, config, "")
    name = await job.backend.tag(image, target.reference)
    if target.push:
        job.output.text(f"Pushing cache to {name}\n")
        await job.backend.push(name, job.output.emit, credentials=job.request.credentials)
