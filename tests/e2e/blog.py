"""A small publishing house to try an engine with: nginx, a Python application, MariaDB, Redis.

One Debian image has all four programs; it is made as people make images by hand: packages are
unpacked in a container, files are copied into it, and it is committed.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from tests.daemon import Daemon
from tests.images import CACHE, debian_archive

IMAGE = "blog:1"
PACKAGES = (
    *("mariadb-server-core", "mariadb-client-core", "redis-server", "nginx-light"),
    *("python3-minimal", "python3-pymysql"),
)

APPLICATION = """
import http.server, os, socket
import pymysql

PASSWORD = open("/run/secrets/database").read().strip()
TITLE = os.environ["BLOG_TITLE"]

def visits():
    with socket.create_connection(("cache", 6379), 5) as cache:
        cache.sendall(b"INCR visits\\r\\n")
        return int(cache.recv(99)[1:])

class Blog(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with pymysql.connect(host="db", user="blog", password=PASSWORD, database="blog") as db:
            with db.cursor() as cursor:
                cursor.execute("SELECT text FROM posts ORDER BY id")
                posts = ",".join(text for text, in cursor.fetchall())
        self.answer(f"{TITLE} on {socket.gethostname()}: {posts}; {visits()} visits")

    def do_POST(self):
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with pymysql.connect(host="db", user="blog", password=PASSWORD, database="blog") as db:
            with db.cursor() as cursor:
                cursor.execute("INSERT INTO posts (text) VALUES (%s)", text)
            db.commit()
        print("posted", text, flush=True)
        self.answer("posted")

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

http.server.ThreadingHTTPServer(("", 8000), Blog).serve_forever()
"""
NGINX = """
daemon off; user root; worker_processes 1; pid /run/nginx.pid; error_log stderr;
events {}
http {
  access_log /dev/stdout;
  resolver 127.0.0.11 valid=1s;
  server { listen 80; location / { set $app app; proxy_pass http://$app:8000; } }
}
"""
SCHEMA = """
CREATE DATABASE IF NOT EXISTS blog;
CREATE USER IF NOT EXISTS blog@'%' IDENTIFIED BY 'written down';
GRANT ALL ON blog.* TO blog@'%';
CREATE TABLE IF NOT EXISTS blog.posts (id SERIAL, text VARCHAR(99)) ENGINE=InnoDB;
"""
UNPACK = """
set -e
for package in /packages/*.deb; do
    dpkg-deb --fsys-tarfile $package | tar -x --keep-directory-symlink -C /
done
ldconfig
mkdir -p /run/mysqld
mariadb-install-db --user=root --datadir=/var/lib/mysql --skip-test-db >/dev/null
"""


def download(status: Path) -> Path:
    """Debian's packages that an image with this dpkg status lacks; kept in the cache."""
    folder = CACHE / "blog-packages"
    (folder / "partial").mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::status": status,
        "Dir::Cache::archives": folder,
        "Debug::NoLocking": "1",
    }
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    command = ["apt-get", "-y", "-qq", "--no-install-recommends", "--download-only", *flags]
    subprocess.run([*command, "install", *PACKAGES], check=True, capture_output=True)
    return folder


def make_image(engine: Daemon, scratch: Path) -> None:
    """Make ``IMAGE`` in an engine."""
    engine.docker("load", "-i", str(debian_archive()))
    engine.docker("create", "--name", "status", "debian")
    engine.docker("cp", "status:/var/lib/dpkg/status", str(scratch / "status"))
    engine.docker("rm", "status")
    packages = download(scratch / "status")
    flags = ("--name", "maker", "--network", "none", "-v", f"{packages}:/packages:ro")
    engine.docker("run", *flags, "debian", "sh", "-c", UNPACK, timeout=120)
    engine.docker("cp", "-", "maker:/", input=_files())
    engine.docker("commit", "maker", IMAGE)
    engine.docker("rm", "maker")


def _files() -> bytes:
    files = {"srv/blog.py": APPLICATION, "etc/nginx/blog.conf": NGINX, "srv/schema.sql": SCHEMA}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text), 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


PROJECT = """
version: "3.8"
services:
  web:
    image: blog:1
    command: [nginx, -c, /etc/nginx/blog.conf]
    ports: ["127.0.0.1:18090:80", "18091:80"]
    depends_on: {app: {condition: service_started}}
    networks: [front]
  app:
    image: blog:1
    command: [python3, /srv/blog.py]
    init: true
    environment: {BLOG_TITLE: "${BLOG_TITLE:-News}"}
    secrets: [database]
    depends_on: {db: {condition: service_healthy}, cache: {condition: service_healthy}}
    networks: [front, back]
  db:
    image: blog:1
    command: mariadbd --user=root --skip-name-resolve --init-file=/srv/schema.sql
    volumes: ["data:/var/lib/mysql"]
    stop_signal: SIGKILL
    healthcheck:
      test: mariadb -h127.0.0.1 -ublog -p"written down" blog -e "SELECT 1 FROM posts LIMIT 1"
      interval: 1s
      retries: 60
    networks: {back: {ipv4_address: 10.215.0.10}, door: {}}
    ports: ["127.0.0.1:18092:3306"]
  cache:
    image: blog:1
    command: [redis-server, --bind, 0.0.0.0, --protected-mode, "no"]
    volumes: ["/var/lib/redis"]
    healthcheck: {test: [CMD, redis-cli, ping], interval: 1s, retries: 60}
    networks: {back: {aliases: [store]}}
networks:
  front: {}
  door: {}
  back: {internal: true, ipam: {config: [{subnet: 10.215.0.0/24}]}}
volumes: {data: {labels: {kept: "yes"}}}
secrets: {database: {file: ./password}}
"""
