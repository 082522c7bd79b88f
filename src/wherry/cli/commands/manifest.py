"""``wherry manifest``: lists of images for several platforms"""

from __future__ import annotations

import base64
import json
import os

from wherry.cli.command import Command, at_least, between, exactly
from wherry.cli.errors import CliError
from wherry.cli.flags import Flag
from wherry.cli.kinds import BOOL, STRING, STRINGS
from wherry.cli.references import check, familiar, path_of, registry_of, split, with_tag
from wherry.cli.registry import Manifest, Registry
from wherry.mediatypes import DOCKER_INDEX, INDEXES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from wherry.cli.flags import Options
    from wherry.cli.session import Session

    Entry = dict[str, Any]


class _Store:
    """Lists that are not pushed yet: a folder each, a file for each image in it."""

    def __init__(self, session: Session, name: str) -> None:
        check(name)
        self.name = with_tag(name)
        safe = f"{registry_of(name)}/{path_of(name)}:{split(self.name)[1] or split(self.name)[2]}"
        self._directory = (
            f"{session.config.directory}/manifests/{safe.replace('/', '_').replace(':', '-')}"
        )

    @property
    def exists(self) -> bool:
        return os.path.isdir(self._directory)

    def entries(self) -> dict[str, Entry]:
        """Image references and what is known of each."""
        found: dict[str, Entry] = {}
        if self.exists:
            for file in sorted(os.listdir(self._directory)):
                with open(f"{self._directory}/{file}", encoding="utf-8") as stream:
                    entry = json.load(stream)
                found[entry["Ref"]] = entry
        return found

    def put(self, entry: Entry) -> None:
        os.makedirs(self._directory, exist_ok=True)
        file = entry["Ref"].replace("/", "_").replace(":", "-")
        with open(f"{self._directory}/{file}", "w", encoding="utf-8") as stream:
            json.dump(entry, stream)

    def remove(self) -> None:
        import shutil

        shutil.rmtree(self._directory)


def _fetch(session: Session, reference: str, *, insecure: bool) -> Entry:
    """An image of one platform, described for a list; raises CliError for a list."""
    registry = Registry(session.config, reference, insecure=insecure)
    manifest = registry.manifest()
    if manifest.media_type in INDEXES:
        raise CliError(f"{reference} is a manifest list")
    return _entry(registry, reference, manifest)


def _entry(registry: Registry, reference: str, manifest: Manifest) -> Entry:
    config = json.loads(registry.blob(manifest.content["config"]["digest"]))
    platform = {
        "architecture": config.get("architecture", ""),
        "os": config.get("os", ""),
        **({"variant": config["variant"]} if config.get("variant") else {}),
        **({"os.version": config["os.version"]} if config.get("os.version") else {}),
    }
    return {
        "Ref": with_tag(reference),
        "Descriptor": {
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": len(manifest.raw),
            "platform": platform,
        },
        "Raw": manifest.raw.decode(),
        "Manifest": manifest.content,
    }


def _list_content(entries: dict[str, Entry]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": DOCKER_INDEX,
        "manifests": [
            {key: entry["Descriptor"][key] for key in ("mediaType", "size", "digest", "platform")}
            for entry in entries.values()
        ],
    }


def _verbose(entry: Entry) -> Entry:
    """An entry as ``--verbose`` shows it: the manifest as it is stored, and decoded."""
    kind = "OCIManifest" if ".oci." in entry["Descriptor"]["mediaType"] else "SchemaV2Manifest"
    return {
        "Ref": entry["Ref"],
        "Descriptor": entry["Descriptor"],
        "Raw": base64.b64encode(entry["Raw"].encode()).decode(),
        kind: entry["Manifest"],
    }


def _inspect(session: Session, options: Options, arguments: list[str]) -> int:
    reference = arguments[-1]
    store = _Store(session, arguments[0])
    if store.exists:
        entries = store.entries()
        if len(arguments) == 2:
            wanted = with_tag(reference)
            if wanted not in entries:
                raise CliError(f"No such manifest: {reference}")
            shown: object = (
                _verbose(entries[wanted]) if options["verbose"] else entries[wanted]["Manifest"]
            )
        elif options["verbose"]:
            shown = [_verbose(entry) for entry in entries.values()]
        else:
            shown = _list_content(entries)
        session.say(json.dumps(shown, indent="\t"))
        return 0
    check(reference)
    registry = Registry(session.config, reference, insecure=options["insecure"])
    manifest = registry.manifest()
    if not options["verbose"]:
        is_list = manifest.media_type in INDEXES
        raw = manifest.raw.decode()
        session.say(raw if is_list else json.dumps(manifest.content, indent="\t"))
    elif manifest.media_type in INDEXES:
        details = []
        for item in manifest.content["manifests"]:
            child = registry.manifest(item["digest"])
            details.append(
                _verbose(
                    {
                        "Ref": f"{reference}@{item['digest']}",
                        "Descriptor": {
                            key: item[key]
                            for key in ("mediaType", "digest", "size", "platform")
                            if key in item
                        },
                        "Raw": child.raw.decode(),
                        "Manifest": child.content,
                    }
                )
            )
        session.say(json.dumps(details, indent="\t"))
    else:
        session.say(json.dumps(_verbose(_entry(registry, reference, manifest)), indent="\t"))
    return 0


def _create(session: Session, options: Options, arguments: list[str]) -> int:
    store = _Store(session, arguments[0])
    if store.exists and not options["amend"]:
        raise CliError("refusing to amend an existing manifest list with no --amend flag")
    for reference in arguments[1:]:
        store.put(_fetch(session, reference, insecure=options["insecure"]))
    session.say(
        f"Created manifest list {registry_of(store.name)}/{path_of(store.name)}:"
        f"{split(store.name)[1]}"
    )
    return 0


def _annotate(session: Session, options: Options, arguments: list[str]) -> int:
    store = _Store(session, arguments[0])
    if not store.exists:
        raise CliError(f"manifest for list {arguments[0]} does not exist in {arguments[0]}")
    entries = store.entries()
    reference = with_tag(arguments[1])
    if reference not in entries:
        raise CliError(f"manifest for image {arguments[1]} does not exist in {arguments[0]}")
    platform = entries[reference]["Descriptor"]["platform"]
    names = (
        ("os", "os"),
        ("arch", "architecture"),
        ("variant", "variant"),
        ("os-version", "os.version"),
        ("os-features", "os.features"),
    )
    for flag, key in names:
        if options[flag]:
            platform[key] = options[flag]
    store.put(entries[reference])
    return 0


def _push(session: Session, options: Options, arguments: list[str]) -> int:
    store = _Store(session, arguments[0])
    entries = store.entries()
    if not entries:
        raise CliError(f"{arguments[0]} not found")
    target = Registry(session.config, store.name, insecure=options["insecure"])
    for reference, entry in entries.items():
        if registry_of(reference) != registry_of(store.name):
            raise CliError(
                f"cannot use source images from a different registry than the target image: "
                f"{registry_of(reference)} != {registry_of(store.name)}"
            )
        if path_of(reference) != path_of(store.name):
            manifest = entry["Manifest"]
            for blob in (manifest["config"], *manifest["layers"]):
                target.mount(blob["digest"], path_of(reference))
        descriptor = entry["Descriptor"]
        target.put_manifest(descriptor["digest"], descriptor["mediaType"], entry["Raw"].encode())
        session.say(f"Pushed ref {familiar(reference)} with digest: {descriptor['digest']}")
    raw = json.dumps(_list_content(entries), indent=3).encode()
    target.put_manifest(target.reference, DOCKER_INDEX, raw)
    session.say(Manifest(DOCKER_INDEX, raw).digest)
    if options["purge"]:
        store.remove()
    return 0


def _rm(session: Session, options: Options, arguments: list[str]) -> int:
    missing = []
    for name in arguments:
        store = _Store(session, name)
        if store.exists:
            store.remove()
        else:
            missing.append(f"No such manifest: {store.name}")
    if missing:
        raise CliError("\n".join(missing))
    return 0


_INSECURE = Flag("insecure", "", BOOL, "Allow communication with an insecure registry")

INSPECT = Command(
    "inspect [OPTIONS] [MANIFEST_LIST] MANIFEST",
    _inspect,
    flags=(_INSECURE, Flag("verbose", "v", BOOL, "Output layers and platform too")),
    arguments=between(1, 2),
)
CREATE = Command(
    "create MANIFEST_LIST MANIFEST [MANIFEST...]",
    _create,
    flags=(_INSECURE, Flag("amend", "a", BOOL, "Amend an existing manifest list")),
    arguments=at_least(2),
)
ANNOTATE = Command(
    "annotate [OPTIONS] MANIFEST_LIST MANIFEST",
    _annotate,
    flags=(
        Flag("arch", "", STRING, "Set architecture"),
        Flag("os", "", STRING, "Set operating system"),
        Flag("os-features", "", STRINGS, "Set operating system features"),
        Flag("os-version", "", STRING, "Set operating system version"),
        Flag("variant", "", STRING, "Set architecture variant"),
    ),
    arguments=exactly(2),
)
PUSH = Command(
    "push [OPTIONS] MANIFEST_LIST",
    _push,
    flags=(_INSECURE, Flag("purge", "p", BOOL, "Remove the local manifest list after push")),
    arguments=exactly(1),
)
RM = Command("rm MANIFEST_LIST [MANIFEST_LIST...]", _rm, arguments=at_least(1))
