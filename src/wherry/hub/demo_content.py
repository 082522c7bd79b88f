"""What the demo hub is filled with. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PEOPLE = ("harbour", "brice", "ann", "noor", "kenji", "lucia", "olek", "mara")


@dataclass(frozen=True)
class DemoRepository:
    """One repository: ``pulls`` is a usual day's number, ``stars`` how many people give one."""

    name: str
    description: str
    readme: str
    versions: tuple[str, ...]
    steps: tuple[str, ...]
    base: str = "debian"
    base_size: int = 200_000
    architectures: tuple[str, ...] = ("amd64",)
    config: dict[str, Any] = field(default_factory=dict)
    pulls: int = 10
    stars: int = 1
    days_ago: int = 1
    private: bool = False
    automated: bool = False
    immutable: str = ""


_MYSQL = """# MySQL-compatible server

A relational database that speaks the MySQL protocol, ready in one command.

## Start it

```sh
docker run -d --name db -e MYSQL_ROOT_PASSWORD=secret brice/mysql
docker inspect db | grep IPAddress
mysql -h 172.17.0.2 -u root -p
```

## Settings

| variable | meaning | default |
|---|---|---|
| `MYSQL_ROOT_PASSWORD` | password of root | *required* |
| `MYSQL_DATABASE` | database to make at the first start | none |
| `MYSQL_USER`, `MYSQL_PASSWORD` | account for that database | none |

## Keep the data

The data lives in the volume `/var/lib/mysql`:

```sh
docker run -d -v dbdata:/var/lib/mysql -e MYSQL_ROOT_PASSWORD=secret brice/mysql
```

> Stop it with `docker stop`, not with `kill`: the server wants a moment to write its pages.
"""

_PYTHON = """# Python

The language and its standard library, on a small Debian.

```dockerfile
FROM library/python:3.13
COPY app.py /app.py
CMD ["python3", "/app.py"]
```

- `3.13` and `latest` follow bug-fix releases
- numbered tags such as `3.12` stay where they are

Built for `linux/amd64` and `linux/arm64`.
"""


def _readme(title: str, text: str, command: str) -> str:
    return f"# {title}\n\n{text}\n\n```sh\n{command}\n```\n"


REPOSITORIES: tuple[DemoRepository, ...] = (
    DemoRepository(
        "library/debian",
        "A small Debian base system.",
        _readme("Debian", "The base that most images here stand on.", "docker run -it debian sh"),
        ("bullseye", "bookworm"),
        ('CMD ["sh"]',),
        architectures=("amd64", "arm64"),
        config={"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        pulls=380,
        stars=7,
        days_ago=2,
        automated=True,
    ),
    DemoRepository(
        "library/python",
        "Python, the programming language, with pip.",
        _PYTHON,
        ("3.11", "3.12", "3.13"),
        (
            "RUN apt-get update && apt-get install -y python3 python3-pip",
            "ENV PYTHON_VERSION={version}",
            "COPY entrypoint.sh /usr/bin/entrypoint",
            'ENTRYPOINT ["entrypoint"]',
            'CMD ["python3"]',
        ),
        architectures=("amd64", "arm64"),
        config={
            "Cmd": ["python3"],
            "Entrypoint": ["entrypoint"],
            "Env": ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"],
        },
        pulls=240,
        stars=8,
        days_ago=0,
        automated=True,
        immutable="3.*",
    ),
    DemoRepository(
        "brice/mysql",
        "MySQL-compatible database server, one command to start.",
        _MYSQL,
        ("10.6", "10.11", "11.4"),
        (
            "RUN apt-get update && apt-get install -y mariadb-server={version}*",
            "COPY start.sh /usr/bin/start",
            "VOLUME /var/lib/mysql",
            "EXPOSE 3306",
            'CMD ["start"]',
        ),
        config={
            "Cmd": ["start"],
            "ExposedPorts": {"3306/tcp": {}},
            "Volumes": {"/var/lib/mysql": {}},
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "Labels": {"org.opencontainers.image.authors": "brice"},
        },
        pulls=120,
        stars=6,
        days_ago=3,
    ),
    DemoRepository(
        "ann/static-site",
        "Serves a folder over HTTP. Nothing else.",
        _readme(
            "Static site",
            "Mount your pages at `/srv` and open port 8080.",
            "docker run -p 8080:8080 -v $PWD:/srv:ro ann/static-site",
        ),
        ("1", "2"),
        ("COPY httpd /usr/bin/httpd", "EXPOSE 8080", 'CMD ["httpd", "-p", "8080", "-h", "/srv"]'),
        base="busybox",
        base_size=60_000,
        architectures=("amd64", "arm64"),
        config={"Cmd": ["httpd"], "ExposedPorts": {"8080/tcp": {}}},
        pulls=64,
        stars=4,
        days_ago=6,
    ),
    DemoRepository(
        "noor/php-box",
        "PHP with the extensions that everybody needs anyway.",
        _readme(
            "PHP box",
            "For small sites and for trying things.",
            "docker run -it noor/php-box php -a",
        ),
        ("8.2", "8.3"),
        (
            "RUN apt-get update && apt-get install -y php-cli php-mysql php-curl",
            "WORKDIR /app",
            'CMD ["php", "-a"]',
        ),
        config={"Cmd": ["php", "-a"], "WorkingDir": "/app"},
        pulls=41,
        stars=3,
        days_ago=9,
    ),
    DemoRepository(
        "kenji/redis",
        "In-memory key-value store with sensible limits.",
        _readme("Redis", "Listens on 6379 and keeps 256 MB.", "docker run -d kenji/redis"),
        ("7.0", "7.2"),
        (
            "RUN apt-get update && apt-get install -y redis-server",
            "EXPOSE 6379",
            'CMD ["redis-server"]',
        ),
        config={"Cmd": ["redis-server"], "ExposedPorts": {"6379/tcp": {}}},
        pulls=88,
        stars=5,
        days_ago=4,
    ),
    DemoRepository(
        "quayside/crane-control",
        "Web console for container cranes (simulated).",
        _readme(
            "Crane control", "Open port 9000.", "docker run -p 9000:9000 quayside/crane-control"
        ),
        ("v1.0", "v1.1", "v2.0"),
        ("COPY crane-control /usr/bin/crane-control", "USER 1000", 'CMD ["crane-control"]'),
        base="busybox",
        base_size=60_000,
        config={"Cmd": ["crane-control"], "User": "1000"},
        pulls=23,
        stars=2,
        days_ago=1,
        immutable="v*",
    ),
    DemoRepository(
        "quayside/ledger",
        "Who owes whom how much. Not for outsiders.",
        _readme("Ledger", "Internal.", "docker run quayside/ledger"),
        ("2026.10", "2026.11"),
        ("COPY ledger /usr/bin/ledger", 'CMD ["ledger"]'),
        config={"Cmd": ["ledger"]},
        pulls=3,
        stars=0,
        private=True,
    ),
    DemoRepository(
        "lucia/jupyter",
        "Notebooks in the browser, with numpy and pandas.",
        _readme(
            "Jupyter", "The token is printed to the log.", "docker run -p 8888:8888 lucia/jupyter"
        ),
        ("2026-09", "2026-10"),
        ("RUN pip install notebook numpy pandas", "EXPOSE 8888", 'CMD ["jupyter", "notebook"]'),
        architectures=("amd64", "arm64"),
        config={"Cmd": ["jupyter", "notebook"], "ExposedPorts": {"8888/tcp": {}}},
        pulls=57,
        stars=4,
        days_ago=12,
    ),
    DemoRepository(
        "olek/git-mirror",
        "Keeps mirrors of git repositories up to date.",
        _readme(
            "git mirror",
            "List the URLs in `/etc/mirrors`.",
            "docker run -v $PWD/mirrors:/etc/mirrors olek/git-mirror",
        ),
        ("0.9", "1.0"),
        (
            "RUN apt-get update && apt-get install -y git",
            "COPY mirror.sh /usr/bin/mirror",
            'CMD ["mirror"]',
        ),
        config={"Cmd": ["mirror"]},
        pulls=17,
        stars=2,
        days_ago=20,
    ),
)

COMMENTS: dict[str, tuple[tuple[str, str], ...]] = {
    "brice/mysql": (
        ("noor", "Up in four seconds on my old laptop. Thank you!"),
        (
            "kenji",
            "Is there a way to set `max_connections` without making my own image?",
        ),
        (
            "brice",
            "Yes: give it as an argument, `docker run … brice/mysql start --max-connections=500`.",
        ),
        ("lucia", "The `docker stop` hint in the README saved my data. **Read it**, people."),
    ),
    "library/python": (("ann", "Works on my Raspberry Pi too."),),
}
