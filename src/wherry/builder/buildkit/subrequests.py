"""Questions that clients ask the front end instead of building: ``docker build --check``.

Answers are metadata of an empty result: JSON for programs, text for people.
Source: https://github.com/moby/buildkit/tree/master/frontend/subrequests
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from wherry.builder.lint import Finding

DESCRIBE = "frontend.subrequests.describe"
LINT = "frontend.lint"
KNOWN = (DESCRIBE, LINT)
_VERSION = "1.0.0"
_RESULTS = {
    DESCRIBE: ("result.json", "result.txt"),
    LINT: ("result.json", "result.txt", "result.statuscode"),
}


def describe() -> dict[str, bytes]:
    """Which questions are answered."""
    known = [
        {
            "name": name,
            "version": _VERSION,
            "type": "rpc",
            "description": "",
            "opts": None,
            "metadata": [{"name": result} for result in _RESULTS[name]],
        }
        for name in KNOWN
    ]
    text = "".join(f"{name}\n" for name in KNOWN)
    return _answer(known, text)


def lint_result(file: str, content: bytes, findings: Sequence[Finding]) -> dict[str, bytes]:
    """What the lint rules found."""
    warnings = [
        {
            "ruleName": finding.rule,
            "description": finding.description,
            "url": finding.url,
            "detail": finding.message,
            "location": {
                "ranges": [{"start": {"line": finding.line}, "end": {"line": finding.line}}]
            },
        }
        for finding in findings
    ]
    source = {
        "fileName": file,
        "language": "Dockerfile",
        "definition": None,
        "data": base64.b64encode(content).decode(),
    }
    status = b"1" if findings else b"0"
    answer = _answer({"warnings": warnings, "sources": [source]}, _text(file, content, findings))
    return answer | {"result.statuscode": status}


def _text(file: str, content: bytes, findings: Sequence[Finding]) -> str:
    lines = content.decode("utf-8", "replace").split("\n")
    parts = []
    by_rule = sorted(findings, key=lambda finding: finding.rule)
    for rule, group in groupby(by_rule, key=lambda finding: finding.rule):
        parts.append(f"Lint Rule {rule}\n")
        for finding in group:
            line = lines[finding.line - 1] if 0 < finding.line <= len(lines) else ""
            parts.append(f"  {file}:{finding.line}\n  {finding.message}\n")
            parts.append(f"  {finding.line}  |  {line}\n\n")
        parts.append("\n")
    return "".join(parts)


def _answer(value: Any, text: str) -> dict[str, bytes]:
    return {
        "result.json": json.dumps(value, indent=2).encode(),
        "result.txt": text.encode(),
        "version": _VERSION.encode(),
    }
