import json

import pytest

from wherry.errors import KernelError
from wherry.runtime import messages
from wherry.runtime.bundle import StartFailed


@pytest.mark.parametrize(
    "error",
    [
        StartFailed(f'exec: "{"x" * 300_000}": not found', "exec", "x" * 300_000, 2, 127),
        KernelError("open", "y" * 300_000, 36),
        FileNotFoundError(2, "gone", "z" * 300_000),
    ],
)
def test_a_failure_fits_into_a_packet_and_keeps_its_end(error: BaseException) -> None:
    told = messages.failure(error)
    assert len(json.dumps(told)) < 1 << 16
    assert told["message"][-8:] == str(error)[-8:]
    assert messages.failed(told).errno == told["errno"]
