"""The network side: pip's own configuration, one HTTP client, and the URLs that may hold a file."""

import ast
import contextlib
import logging
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import httpx2
from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from leaplm.assets.manifest import File, Source

HOSTS = {"github": "https://raw.githubusercontent.com/{}/{}/", "huggingface": "https://huggingface.co/{}/resolve/{}/"}
# A line that is down must cost seconds: connecting is given up early, a silent line after a while.
TIMEOUT = httpx2.Timeout(20, connect=5)
CHUNK = 1 << 18
logging.getLogger("unearth").setLevel(logging.ERROR)    # an index that does not list a project is no news


class SourceError(Exception):
    """This source does not give the file; another may."""


class Interrupted(SourceError):
    """The line broke; trying again may go on from there."""


def pip_settings() -> dict[str, str]:
    """pip's options as pip itself resolves them: files, then sections, then PIP_* variables.

    >>> pip_settings()                              # doctest: +SKIP
    {'index-url': 'https://pypi.example.org/simple', 'find-links': '/opt/wheels'}
    """
    options = ((key[4:].lower().replace("_", "-"), value) for key, value in os.environ.items() if key[:4] == "PIP_")
    environment = {key: value for key, value in options if value}
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    entries = [line.partition("=") for line in listing.splitlines() if "=" in line]
    settings = {}
    for section in ("global", "install", "download"):
        mine = ((key.removeprefix(f"{section}."), value) for key, _, value in entries if key.startswith(f"{section}."))
        settings |= {key: ast.literal_eval(value) for key, value in mine}
    return settings | environment


class Web:
    """An HTTP client that reaches what pip would reach, and remembers the hosts and indexes that do not answer."""

    def __init__(self, settings: dict[str, str] | None = None):
        settings = pip_settings() if settings is None else settings
        places = [("find_links", place) for place in settings.get("find-links", "").split()]
        if str(settings.get("no-index", "")).lower() not in ("1", "true", "yes", "on"):
            main = settings.get("index-url", "https://pypi.org/simple")
            places += [("index_urls", place) for place in [main, *settings.get("extra-index-url", "").split()]]
        self.places = places
        self.answered: set[str] = set()
        self.silent: dict[str, str] = {}
        cert = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        self.client = PyPIClient(
            trusted_hosts=settings.get("trusted-host", "").split(),
            verify=ssl.create_default_context(cafile=cert) if cert else True,
            cert=settings.get("client-cert"),
            proxy=settings.get("proxy"),
            timeout=TIMEOUT,
            follow_redirects=True,
        )
        indexes = [place for kind, place in places if kind == "index_urls"]
        self.client.auth = MultiDomainBasicAuth(prompting=False, index_urls=indexes)

    def urls(self, source: Source, file: File) -> Iterator[str]:
        """Where `source` may have `file`, most likely first. Raises SourceError at the end if nowhere answered."""
        if source.carrier:
            yield from self._package_urls(source.project, file.name)
        else:
            yield HOSTS[source.kind].format(source.repository, source.commit) + quote(source.member(file))

    def _package_urls(self, project: str, filename: str) -> Iterator[str]:
        # Place by place, so that a wheelhouse that has the file spares asking an index that may be away.
        reasons = []
        for kind, place in self.places:
            if place in self.silent:
                reasons.append(self.silent[place])
                continue
            try:
                finder = PackageFinder(self.client, ignore_compatibility=True, **{kind: [os.path.expanduser(place)]})
                found = [package.link for package in finder.find_all_packages(project, allow_yanked=True)]
            except (httpx2.HTTPError, OSError, ValueError) as problem:
                self.silent[place] = f"{host_of(place)}: {problem}"
                reasons.append(self.silent[place])
                continue
            yield from (link.normalized for link in found if link.filename == filename)
        reasons = reasons or [f"{filename} is not on {', '.join(host_of(place) for _, place in self.places)}"]
        raise SourceError(f"package index: {'; '.join(reasons)}")

    @contextlib.contextmanager
    def open(self, url: str, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Bytes of `url` from `start` on, or from 0 where the server knows no ranges: (offset, chunks)."""
        if (path := local_path(url)) is not None:
            with _open_local(path, start) as opened:
                yield opened
            return
        host = host_of(url)
        if host in self.silent:
            raise SourceError(self.silent[host])
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with self.client.stream("GET", url, headers=headers) as response:
                self.answered.add(host)
                yield _offset(response, start), response.iter_bytes(CHUNK)
        except httpx2.InvalidURL as problem:
            raise SourceError(f"{url}: {problem}") from problem
        except httpx2.HTTPError as problem:
            reason = f"{host}: {str(problem) or type(problem).__name__}"
            if host in self.answered:
                raise Interrupted(reason) from problem
            self.silent[host] = reason      # never answered: not worth waiting for again
            raise SourceError(reason) from problem


def _offset(response: httpx2.Response, start: int) -> int:
    """Where the answer's bytes begin. Raises SourceError unless the server gave the file or the asked range."""
    host = response.url.host
    if response.status_code == 206 and response.headers.get("content-range", "").startswith(f"bytes {start}-"):
        return start
    if response.status_code == 200:
        return 0
    problem = Interrupted if response.status_code in (206, 416, 429, 500, 502, 503, 504) else SourceError
    raise problem(f"{host}: {response.status_code} {response.reason_phrase} for {response.url.path}")


@contextlib.contextmanager
def _open_local(path: Path, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
    try:
        stream = path.open("rb")
    except OSError as problem:
        raise SourceError(f"{path}: {problem.strerror}") from problem
    with stream:
        stream.seek(start)
        yield start, _chunks(stream, path)


def _chunks(stream, path: Path) -> Iterator[bytes]:
    while True:
        try:
            chunk = stream.read(CHUNK)
        except OSError as problem:      # a scratched stick, a share that went away
            raise Interrupted(f"{path}: {problem.strerror}") from problem
        if not chunk:
            return
        yield chunk


def local_path(url: str) -> Path | None:
    """The file behind a file: URL or a plain path; None for anything on the network."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if "://" in url else Path(url)


def mirror_url(mirror: str, path: str) -> str:
    """Where `path` lies on `mirror`, a folder or a URL."""
    return f"{mirror.rstrip('/')}/{quote(path)}" if "://" in mirror else str(Path(mirror).expanduser() / path)


def host_of(url: str) -> str:
    """What to call a place in a message: its host, without credentials, or its path."""
    return (urlsplit(url).hostname or url) if local_path(url) is None else str(local_path(url))
