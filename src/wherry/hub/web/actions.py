"""What people do on a repository's page: star, comment, moderate, delete and restore tags."""

from __future__ import annotations

from aiohttp import web
from sqlalchemy import Connection

from wherry.errors import Forbidden, InvalidParameter, NotFound
from wherry.hub import events
from wherry.hub.access import Role
from wherry.hub.accounts import limits
from wherry.hub.distribution.names import tag_name
from wherry.hub.hub import hub_of
from wherry.hub.records import restore, social
from wherry.hub.records.social import Comment
from wherry.hub.registry import manifests
from wherry.hub.requests import client_address
from wherry.hub.web.access import Seen, see, url
from wherry.hub.web.page import back, form_of, user_of

_LONGEST = 5000


async def star(request: web.Request) -> web.StreamResponse:
    """Stars or unstars the repository."""
    user = user_of(request)
    seen = await see(request)
    if not await hub_of(request).db.write(limits.count, [(limits.STARS, user.name)]):
        raise Forbidden("too many stars at once; wait a little")
    starred = form_of(request).get("starred") == "1"
    await hub_of(request).db.write(social.set_star, seen.repository.id, user.id, starred)
    return back(url(seen.repository.name))


async def add_comment(request: web.Request) -> web.StreamResponse:
    """Adds a comment."""
    user = user_of(request)
    seen = await see(request)
    body = _body(request)
    if not await hub_of(request).db.write(limits.count, [(limits.COMMENTS, user.name)]):
        raise Forbidden("too many comments at once; wait some minutes")
    hub = hub_of(request)
    await hub.db.write(social.add_comment, seen.repository.id, user.id, body)
    hub.background(hub.renderer.html(body))
    return back(f"{url(seen.repository.name)}#comments")


def _body(request: web.Request) -> str:
    body = form_of(request).get("body", "").strip()
    if not body:
        raise InvalidParameter("an empty comment says nothing")
    if len(body) > _LONGEST:
        raise InvalidParameter(f"a comment has at most {_LONGEST} characters")
    return body


async def _comment(request: web.Request) -> tuple[Seen, Comment]:
    seen = await see(request)
    text = request.match_info["comment"]
    if len(text) > 17:
        raise NotFound("no such comment")
    found = await hub_of(request).db.read(social.comment, seen.repository.id, int(text))
    if found is None:
        raise NotFound("no such comment")
    return seen, found


async def edit_comment(request: web.Request) -> web.StreamResponse:
    """Replaces one's own comment."""
    user = user_of(request)
    seen, comment = await _comment(request)
    if comment.user_id != user.id:
        raise Forbidden("only its author may edit a comment")
    hub, body = hub_of(request), _body(request)
    await hub.db.write(social.edit_comment, comment.id, body)
    hub.background(hub.renderer.html(body))
    return back(f"{url(seen.repository.name)}#comments", "saved")


async def delete_comment(request: web.Request) -> web.StreamResponse:
    """Deletes one's own comment, or any as a moderator."""
    user = user_of(request)
    seen, comment = await _comment(request)
    if comment.user_id != user.id and not seen.may_administer:
        raise Forbidden("only its author or a moderator may delete a comment")
    await hub_of(request).db.write(
        _delete_comment, seen, comment, user.name, client_address(request)
    )
    return back(f"{url(seen.repository.name)}#comments", "deleted")


def _delete_comment(
    conn: Connection, seen: Seen, comment: Comment, actor: str, address: str
) -> None:
    social.remove_comment(conn, comment.id)
    repository = seen.repository
    detail = {"author": comment.author, "comment": comment.id}
    events.record(
        conn, actor, address, "comment deleted", repository.name, repository.owner, detail
    )


async def hide_comment(request: web.Request) -> web.StreamResponse:
    """Hides a comment, or shows it again (moderators)."""
    user_of(request)
    seen, comment = await _comment(request)
    if not seen.may_administer:
        raise Forbidden("only moderators may hide comments")
    hidden = form_of(request).get("hidden") == "1"
    await hub_of(request).db.write(social.hide_comment, comment.id, hidden)
    return back(f"{url(seen.repository.name)}#comments")


async def delete_tag(request: web.Request) -> web.StreamResponse:
    """Moves a tag to the trash."""
    user = user_of(request)
    seen = await see(request, Role.ADMIN)
    tag = tag_name(form_of(request).get("tag", ""))
    await hub_of(request).db.write(
        manifests.remove, seen.repository, tag, user.name, client_address(request)
    )
    return back(url(seen.repository.name, "tags"), "deleted")


async def restore_tag(request: web.Request) -> web.StreamResponse:
    """Takes a tag out of the trash."""
    user = user_of(request)
    seen = await see(request, Role.ADMIN)
    text = form_of(request).get("trashed", "")
    if not text.isascii() or not text.isdigit() or len(text) > 17:
        raise NotFound("no such tag")
    await hub_of(request).db.write(restore.restore_tag, seen.repository.id, int(text), user.name)
    return back(url(seen.repository.name, "tags"), "restored")
