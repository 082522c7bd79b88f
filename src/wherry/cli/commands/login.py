"""``wherry login`` and ``wherry logout``"""

from __future__ import annotations

import sys

from wherry.cli.auth import erase, store
from wherry.cli.command import Command, at_most
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING
from wherry.cli.references import INDEX_SERVER, auth_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from wherry.cli.flags import Options
    from wherry.cli.session import Session


def _server(arguments: list[str]) -> str:
    if not arguments:
        return INDEX_SERVER
    name = arguments[0].removeprefix("https://").removeprefix("http://").partition("/")[0]
    return auth_key(name)


def _password(session: Session, options: Options) -> str:
    if options["password-stdin"]:
        if options["password"]:
            raise CliError("--password and --password-stdin are mutually exclusive")
        if not options["username"]:
            raise CliError("Must provide --username with --password-stdin")
        return sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if options["password"]:
        session.warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    return str(options["password"])


def _ask(session: Session, user: str, password: str) -> tuple[str, str]:
    """Ask on the terminal for what is missing; raises CliError without one."""
    if user and password:
        return user, password
    if not session.stdin_is_terminal:
        raise CliError("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        session.write("Username: ")
        sys.stdout.flush()
        user = sys.stdin.readline().strip()
        if not user:
            raise CliError("Error: Non-null Username Required")
    if not password:
        import getpass

        password = getpass.getpass("Password: ")
        if not password:
            raise CliError("Error: Password Required")
    return user, password


def _login(session: Session, options: Options, arguments: list[str]) -> int:
    server = _server(arguments)
    if options.given("password") and not options["password"]:
        raise CliError("password is empty")
    if options.given("username") and not options["username"]:
        raise CliError("username is empty")
    password = _password(session, options)
    user = options["username"]
    if not user and not password:
        from wherry.cli.auth import credentials

        known = credentials(session.config, server)
        if known:
            answer = session.client.call("POST", "/auth", body=known)
            session.say((answer or {}).get("Status") or "Login Succeeded")
            return 0
    user, password = _ask(session, user, password)
    auth = {"username": user, "password": password, "serveraddress": server}
    answer = session.client.call("POST", "/auth", body=auth) or {}
    if token := answer.get("IdentityToken"):
        auth = {"username": user, "identitytoken": token, "serveraddress": server}
    if store(session.config, server, auth):
        session.warn(
            f"\nWARNING! Your credentials are stored unencrypted in '{session.config.path}'.\n"
            "Configure a credential helper to remove this warning.\n"
        )
    session.say(answer.get("Status") or "Login Succeeded")
    return 0


def _logout(session: Session, options: Options, arguments: list[str]) -> int:
    server = _server(arguments)
    session.say(f"Removing login credentials for {arguments[0] if arguments else server}")
    erase(session.config, server)
    return 0


LOGIN = Command(
    "login [OPTIONS] [SERVER]",
    _login,
    flags=(
        Flag("password", "p", STRING, "Password or Personal Access Token (PAT)"),
        Flag("password-stdin", "", BOOL, "Take the password from stdin"),
        Flag("username", "u", STRING, "Username"),
    ),
    arguments=at_most(1),
)
LOGOUT = Command("logout [SERVER]", _logout, arguments=at_most(1))
