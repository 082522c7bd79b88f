# ruff: noqa: E501  (reasons read better in single lines)
"""Where Wherry differs from dockerd 20.10's classic builder, and why."""

from __future__ import annotations

_AS_BUILDKIT = "as BuildKit has it, which has been Docker's default builder since"
_NEWER = "the rule or the wording of Docker 28"
_CLEARER = "the same refusal in words that say more"
_CLIENT = "there the client says it, before anything is sent"

DIFFERENCES: dict[str, str] = {
    "add-archive-chown": _AS_BUILDKIT,
    "copy-all": _AS_BUILDKIT,
    "copy-chown-numbers": _AS_BUILDKIT,
    "copy-directory": _AS_BUILDKIT,
    "copy-directory-with-link": _AS_BUILDKIT,
    "copy-setuid": _AS_BUILDKIT,
    "copy-then-cached": _AS_BUILDKIT,
    "copy-trailing-dot": _AS_BUILDKIT,
    "from-scratch-alone": _AS_BUILDKIT,
    "copy-outside": _AS_BUILDKIT,
    "cmd-trailing-json": _AS_BUILDKIT,
    "expand-bad-modifier": _NEWER,
    "expand-unclosed": _NEWER,
    "expand-without-colon": _NEWER,
    "flag-on-cmd": _NEWER,
    "flag-on-env": _NEWER,
    "flag-twice": _NEWER,
    "flag-without-value": _NEWER,
    "from-bad-reference": _NEWER,
    "healthcheck-bad-flag": _NEWER,
    "healthcheck-none": _NEWER,
    "healthcheck-options": _NEWER,
    "healthcheck-shell": _NEWER,
    "healthcheck-zero-retries": _NEWER,
    "unknown-flag": _NEWER,
    "query-bad-tag": _NEWER,
    "query-target-unknown": _NEWER,
    "run-nothing": _NEWER,
    "add-archive-onto-file": _CLEARER,
    "copy-directory-over-file": _CLEARER,
    "copy-several-no-slash": _CLEARER,
    "stages-missing-source": _CLEARER,
    "run-missing-program": _CLEARER,
    "query-bad-args": _CLEARER,
    "query-bad-cachefrom": _CLEARER,
    "query-bad-labels": _CLEARER,
    "query-bad-remote": _CLEARER,
    "query-bad-ulimits": _CLEARER,
    "query-version": _CLEARER,
    "ignore-bad-pattern": _CLIENT,
    "ignore-lone-exclamation": _CLIENT,
    "comments-and-blanks": "an empty continuation line is a finding of `build --check`, not a text in every build",
    "run-continued-comment": "an empty continuation line is a finding of `build --check`, not a text in every build",
    "run-user": "a directory that was there keeps its time while it holds the same names",
    "copy-into-existing": "a directory that was there keeps its time: the layer is the same at any time",
    "copy-through-link-file": "a directory that was there keeps its time: the layer is the same at any time",
    "ignore-child-exception": "directories that lead to an exception keep their mode and time",
    "query-security": "the option works",
}
