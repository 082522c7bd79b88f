"""Blobs in an S3 bucket.

An upload becomes a multipart upload once it passes one part; what is left over between two
requests waits as an object of its own. The finished object has a name of its own too, so
completing it is atomic and deleting an old one harms nobody. Memory per upload is one part.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from wherry.errors import NotFound
from wherry.hub.config import S3Config
from wherry.hub.space import NoSpace
from wherry.hub.storage.base import State, Stored, Update

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_PART = 8 * 1024 * 1024
_LARGE_PART = 64 * 1024 * 1024
_LARGE_AFTER = 1000
_READ = 256 * 1024
_LINK_SECONDS = 900
_THREADS = 16
_FULL = 507  # Insufficient Storage (RFC 4918, section 11.5), as S3 servers with disks say


class S3Storage:
    """Blobs under ``prefix`` of a bucket that exists."""

    def __init__(self, config: S3Config) -> None:
        self._bucket = config.bucket
        self._prefix = f"{config.prefix.strip('/')}/" if config.prefix.strip("/") else ""
        self._redirect = config.redirect
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=config.endpoint or None,
            region_name=config.region,
            aws_access_key_id=config.access_key or None,
            aws_secret_access_key=config.secret_key or None,
            config=Config(
                max_pool_connections=_THREADS,
                retries={"max_attempts": 4, "mode": "standard"},
                s3={"addressing_style": "path"} if config.endpoint else {},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        self._pool = ThreadPoolExecutor(_THREADS, "hub-s3")

    async def start(self, upload: str) -> State:
        return {"multipart": "", "parts": [], "size": 0, "tail": 0}

    async def size(self, upload: str, state: State) -> int:
        return int(state["size"])

    async def append(
        self, upload: str, state: State, chunks: AsyncIterator[bytes], update: Update
    ) -> State:
        changed = {**state, "parts": list(state["parts"])}
        buffer = bytearray()
        if changed["tail"]:
            buffer += await self._get_all(self._tail_key(upload, changed))
        async for chunk in chunks:
            buffer += chunk
            changed["size"] += len(chunk)
            await self._call(update, chunk)
            part = _LARGE_PART if len(changed["parts"]) >= _LARGE_AFTER else _PART
            if len(buffer) >= part:
                await self._upload_part(upload, changed, bytes(buffer))
                buffer.clear()
        # A new name for each tail: a request that fails later must find the old one unharmed.
        changed["tail"] = len(buffer)
        if buffer:
            await self._put(self._tail_key(upload, changed), bytes(buffer))
        return changed

    async def finish(self, upload: str, state: State, digest: str) -> str:
        key = self._key(upload)
        tail = b""
        if state["tail"]:
            tail = await self._get_all(self._tail_key(upload, state))
        if not state["multipart"]:
            await self._put(key, tail)
        else:
            finished = {**state, "parts": list(state["parts"])}
            if tail:
                await self._upload_part(upload, finished, tail)
            parts = [
                {"PartNumber": number, "ETag": etag}
                for number, etag in enumerate(finished["parts"], 1)
            ]
            try:
                await self._call(
                    self._client.complete_multipart_upload,
                    Bucket=self._bucket,
                    Key=key,
                    UploadId=state["multipart"],
                    MultipartUpload={"Parts": parts},
                )
            except ClientError as error:
                raise _gone(error, f"upload {upload}") from error
        await self._drop_tails(upload)
        return f"blobs/{upload}"

    async def cancel(self, upload: str, state: State) -> None:
        if state["multipart"]:
            try:
                await self._call(
                    self._client.abort_multipart_upload,
                    Bucket=self._bucket,
                    Key=self._key(upload),
                    UploadId=state["multipart"],
                )
            except ClientError as error:
                if not _is_missing(error):
                    raise
        await self._drop_tails(upload)

    def path(self, location: str) -> Path | None:
        return None

    async def link(self, location: str, filename: str) -> str | None:
        if not self._redirect:
            return None
        return await self._call(
            self._client.generate_presigned_url,
            "get_object",
            Params={"Bucket": self._bucket, "Key": self._prefix + location},
            ExpiresIn=_LINK_SECONDS,
        )

    async def open(self, location: str, offset: int, length: int) -> AsyncIterator[bytes]:
        if length == 0:
            return
        try:
            answer = await self._call(
                self._client.get_object,
                Bucket=self._bucket,
                Key=self._prefix + location,
                Range=f"bytes={offset}-{offset + length - 1}",
            )
        except ClientError as error:
            raise _gone(error, f"blob {location}") from error
        body = answer["Body"]
        try:
            while chunk := await self._call(body.read, _READ):
                yield chunk
        finally:
            body.close()

    async def delete(self, location: str) -> None:
        await self._call(
            self._client.delete_object, Bucket=self._bucket, Key=self._prefix + location
        )

    async def walk(self) -> AsyncIterator[Stored]:
        token: str | None = None
        while True:
            more = {"ContinuationToken": token} if token else {}
            page = await self._call(
                self._client.list_objects_v2,
                Bucket=self._bucket,
                Prefix=f"{self._prefix}blobs/",
                **more,
            )
            for entry in page.get("Contents", []):
                location = entry["Key"].removeprefix(self._prefix)
                yield Stored(location, entry["LastModified"].timestamp())
            token = page.get("NextContinuationToken")
            if not token:
                return

    async def forgotten(self, before: float) -> AsyncIterator[tuple[str, State]]:
        token: str | None = None
        prefix = f"{self._prefix}uploads/"
        while True:
            more = {"ContinuationToken": token} if token else {}
            page = await self._call(
                self._client.list_objects_v2, Bucket=self._bucket, Prefix=prefix, **more
            )
            for entry in page.get("Contents", []):
                if entry["LastModified"].timestamp() < before:
                    upload = entry["Key"].removeprefix(prefix).partition("/")[0]
                    yield upload, {"multipart": "", "parts": [], "size": 0, "tail": 0}
            token = page.get("NextContinuationToken")
            if not token:
                return

    async def check(self) -> None:
        await self._put(f"{self._prefix}ready", b"ready\n")

    def _key(self, upload: str) -> str:
        return f"{self._prefix}blobs/{upload}"

    def _tail_key(self, upload: str, state: State) -> str:
        return f"{self._prefix}uploads/{upload}/{state['size']}"

    async def _upload_part(self, upload: str, state: State, content: bytes) -> None:
        if not state["multipart"]:
            answer = await self._call(
                self._client.create_multipart_upload, Bucket=self._bucket, Key=self._key(upload)
            )
            state["multipart"] = answer["UploadId"]
        answer = await self._call(
            self._client.upload_part,
            Bucket=self._bucket,
            Key=self._key(upload),
            UploadId=state["multipart"],
            PartNumber=len(state["parts"]) + 1,
            Body=content,
        )
        state["parts"].append(answer["ETag"])

    async def _put(self, key: str, content: bytes) -> None:
        await self._call(self._client.put_object, Bucket=self._bucket, Key=key, Body=content)

    async def _get_all(self, key: str) -> bytes:
        try:
            answer = await self._call(self._client.get_object, Bucket=self._bucket, Key=key)
        except ClientError as error:
            raise _gone(error, key) from error
        content: bytes = await self._call(answer["Body"].read)
        return content

    async def _drop_tails(self, upload: str) -> None:
        prefix = f"{self._prefix}uploads/{upload}/"
        page = await self._call(self._client.list_objects_v2, Bucket=self._bucket, Prefix=prefix)
        for entry in page.get("Contents", []):
            await self._call(self._client.delete_object, Bucket=self._bucket, Key=entry["Key"])

    async def _call(
        self,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, lambda: function(*args, **kwargs))
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == _FULL:
                raise NoSpace("no space left in the registry's bucket") from error
            raise


def _is_missing(error: ClientError) -> bool:
    return error.response.get("Error", {}).get("Code") in ("NoSuchKey", "NoSuchUpload", "404")


def _gone(error: ClientError, what: str) -> Exception:
    return NotFound(f"{what} is not stored") if _is_missing(error) else error
