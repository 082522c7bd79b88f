"""How a command ends other than well."""

from __future__ import annotations


class CliError(Exception):
    """A failure to show on standard error as it is; the process ends with ``code``."""

    def __init__(self, message: str, code: int = 1) -> None:
        self.code = code
        super().__init__(message)


class UsageError(CliError):
    """Flags that cannot be parsed; shown with the command's usage line, exit code 125."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 125)


class ArgumentsError(CliError):
    """A wrong number of arguments; shown with the command's usage line, exit code 1.

    ``hint`` is the verb before "'wherry X --help' for more information".
    """

    def __init__(self, message: str, hint: str = "Run") -> None:
        self.hint = hint
        super().__init__(message, 1)


class Exit(Exception):
    """End the process with ``code``; everything has been said."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)
