"""URLs of the web site."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from wherry.errors import NotFound
from wherry.hub.web import (
    account,
    actions,
    administration,
    home,
    organisation,
    repository,
    repository_settings,
)
from wherry.hub.web.page import SECURITY_HEADERS, page

_STATIC = Path(__file__).parent.parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_REPO = "/r/{name:[^?#]+?}"

GET = {
    "/": home.home,
    "/search": home.search_page,
    "/login": account.login_form,
    "/sign-up": account.sign_up_form,
    "/settings": account.settings,
    "/new/repository": repository_settings.new_form,
    "/new/organisation": organisation.new_form,
    "/admin": administration.overview,
    "/u/{owner}": home.owner_page,
    "/u/{owner}/-/settings": organisation.settings,
    f"{_REPO}/-/tags": repository.tags,
    f"{_REPO}/-/compare": repository.compare,
    f"{_REPO}/-/settings": repository_settings.settings,
    f"{_REPO}/-/image/{{reference}}": repository.image,
    "/r/{name:.+}": repository.overview,
}

POST = {
    "/login": account.login,
    "/logout": account.logout,
    "/sign-up": account.sign_up,
    "/settings/profile": account.change_profile,
    "/settings/password": account.change_password,
    "/settings/tokens": account.create_token,
    "/settings/tokens/revoke": account.revoke_token,
    "/settings/organisations": organisation.answer,
    "/new/repository": repository_settings.create,
    "/new/organisation": organisation.create,
    "/admin/user": administration.change_user,
    "/admin/take-over": administration.take_over,
    "/admin/quota": administration.set_quota,
    "/admin/collect": administration.collect,
    "/u/{owner}/-/settings": organisation.change,
    "/u/{owner}/-/member": organisation.set_member,
    "/u/{owner}/-/teams": organisation.create_team,
    "/u/{owner}/-/team": organisation.change_team,
    f"{_REPO}/-/star": actions.star,
    f"{_REPO}/-/comments": actions.add_comment,
    f"{_REPO}/-/comments/{{comment:\\d+}}/edit": actions.edit_comment,
    f"{_REPO}/-/comments/{{comment:\\d+}}/delete": actions.delete_comment,
    f"{_REPO}/-/comments/{{comment:\\d+}}/hide": actions.hide_comment,
    f"{_REPO}/-/tags/delete": actions.delete_tag,
    f"{_REPO}/-/tags/restore": actions.restore_tag,
    f"{_REPO}/-/settings": repository_settings.change,
    f"{_REPO}/-/collaborator": repository_settings.set_collaborator,
    f"{_REPO}/-/webhooks": repository_settings.add_webhook,
    f"{_REPO}/-/webhooks/remove": repository_settings.remove_webhook,
    f"{_REPO}/-/delete": repository_settings.delete,
}


def routes() -> list[web.RouteDef]:
    """All pages and forms, static files, and a 404 page for the rest."""
    found = [web.get("/static/{file}", _static)]
    found += [web.get(path, page(handler)) for path, handler in GET.items()]
    found += [web.post(path, page(handler)) for path, handler in POST.items()]
    found.append(web.get("/{tail:.*}", page(_nothing)))
    return found


async def _nothing(request: web.Request) -> web.StreamResponse:
    raise NotFound("no such page")


async def _static(request: web.Request) -> web.StreamResponse:
    """The style sheet, the script and the icon."""
    name = request.match_info["file"]
    kind = _TYPES.get(Path(name).suffix)
    if kind is None or name not in {entry.name for entry in _STATIC.iterdir()}:
        raise web.HTTPNotFound
    return web.Response(
        body=(_STATIC / name).read_bytes(),
        content_type=kind,
        charset="utf-8",
        headers={**SECURITY_HEADERS, "Cache-Control": "max-age=3600"},
    )
