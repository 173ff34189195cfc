"""The network side: pip's own configuration, one HTTP client, and the URLs that may hold a file."""

import contextlib
import logging
import os
import ssl
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

import httpx2
from unearth import PackageFinder
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from leaplm.assets.manifest import File, Source
from leaplm.installing import PipError, is_yes, pip_settings
from leaplm.locales import say

GITHUB = "https://raw.githubusercontent.com"
HUGGING_FACE = "https://huggingface.co"
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
# A line that is down must cost seconds: connecting is given up early, a silent line after a while.
TIMEOUT = httpx2.Timeout(20, connect=5)
CHUNK = 1 << 18
logging.getLogger("unearth").setLevel(logging.ERROR)    # an index that does not list a project is no news


class SourceError(Exception):
    """This source does not give the file; another may."""


class Interrupted(SourceError):
    """The line broke; trying again may go on from there."""


class Web:
    """An HTTP client that reaches what pip would reach, and remembers the hosts and indexes that do not answer.

    Nothing is read or built before it is needed: what lies in a folder needs neither pip's settings nor a proxy.
    """

    def __init__(self, settings: dict[str, str] | None = None):
        self._given = settings
        self.answered: set[str] = set()
        self.silent: dict[str, str] = {}

    @cached_property
    def settings(self) -> dict[str, str]:
        """pip's settings. SourceError where they cannot be read."""
        try:
            return pip_settings() if self._given is None else self._given
        except PipError as problem:
            raise SourceError(str(problem)) from problem

    @cached_property
    def places(self) -> list[tuple[str, str]]:
        """Where pip looks for packages, in its order: (kind, folder or address)."""
        places = [("find_links", place) for place in self.settings.get("find-links", "").split()]
        if not is_yes(self.settings.get("no-index", "")):
            main = self.settings.get("index-url", "https://pypi.org/simple")
            places += [("index_urls", place) for place in [main, *self.settings.get("extra-index-url", "").split()]]
        return places

    @cached_property
    def client(self) -> PyPIClient:
        """The client for all that is not on this machine. SourceError where proxy or certificates cannot be used."""
        proxy = self.settings.get("proxy", "")
        given = {"proxy": proxy if "://" in proxy else f"http://{proxy}"} if proxy else {}
        trusted, verify = self.settings.get("trusted-host", "").split(), certificates(self.settings)
        named = [name for name in os.environ if name.upper() in PROXIES]
        with _proxy_in_words([say("pip's setting `proxy`")] if proxy else named):
            client = PyPIClient(trusted_hosts=trusted, verify=verify, timeout=TIMEOUT, follow_redirects=True, **given)
        indexes = [place for kind, place in self.places if kind == "index_urls"]
        client.auth = MultiDomainBasicAuth(prompting=False, index_urls=indexes)
        return client

    def urls(self, source: Source, file: File) -> Iterator[str]:
        """Where `source` may have `file`, most likely first. Raises SourceError at the end if nowhere answered."""
        if source.carrier:
            yield from self._package_urls(source.project, file.name)
        else:
            yield f"{origin(source)}/{quote(source.member(file))}"

    def _package_urls(self, project: str, filename: str) -> Iterator[str]:
        # Place by place, so that a wheelhouse that has the file spares asking an index that may be away.
        reasons = []
        for kind, place in self.places:
            if place in self.silent:
                reasons.append(self.silent[place])
                continue
            try:
                client = folders() if local_path(place) else self.client
                finder = PackageFinder(client, ignore_compatibility=True, **{kind: [os.path.expanduser(place)]})
                found = [package.link for package in finder.find_all_packages(project, allow_yanked=True)]
            except (httpx2.HTTPError, httpx2.InvalidURL, SourceError, OSError, ValueError) as problem:
                self.silent[place] = f"{host_of(place)}: {problem}"
                reasons.append(self.silent[place])
                continue
            yield from (link.normalized for link in found if link.filename == filename)
        hosts = ", ".join(host_of(place) for _, place in self.places)
        reasons = reasons or [say("{file} is not on {hosts}", file=filename, hosts=hosts)]
        raise SourceError(say("package index: {reasons}", reasons="; ".join(reasons)))

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
        headers = {"Accept-Encoding": "identity", **token(url)} | ({"Range": f"bytes={start}-"} if start else {})
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


@contextlib.contextmanager
def _proxy_in_words(names: list[str]) -> Iterator[None]:
    """Say of a proxy that cannot be used where it is set (its value may hold a password), and what to do."""
    where = ", ".join(names) or say("the proxy of this system")
    try:
        yield
    except ImportError as problem:
        raise SourceError(say("{where}: a SOCKS proxy needs one package more (`pip install socksio`). Or set `HTTPS_PROXY` "
                              "to an http proxy and unset `ALL_PROXY`", where=where)) from problem  # fmt: skip
    except (httpx2.InvalidURL, ValueError, TypeError) as problem:
        raise SourceError(say("{where}: no proxy that can be used ({problem}). Write it as `http://HOST:PORT`, or unset it",
                              where=where, problem=problem)) from problem  # fmt: skip


@cache
def folders() -> PyPIClient:
    """The client for indexes and wheelhouses that are folders here: it asks no setting and reaches no network."""
    return PyPIClient(trust_env=False)


def origin(source: Source) -> str:
    """The folder on the web that holds a source's files; HF_ENDPOINT names another host than Hugging Face's own."""
    if source.kind == "github":
        return f"{GITHUB}/{source.repository}/{source.commit}"
    return f"{hugging_face()}/{source.repository}/resolve/{source.commit}"


def hugging_face() -> str:
    """
    >>> hugging_face()                              # doctest: +SKIP
    'https://huggingface.co'
    """
    endpoint = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or HUGGING_FACE
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def token(url: str) -> dict[str, str]:
    """The header with the user's own key for Hugging Face (HF_TOKEN), for addresses there and no other."""
    secret = os.environ.get("HF_TOKEN", "").strip()
    return {"Authorization": f"Bearer {secret}"} if secret and url.startswith(f"{hugging_face()}/") else {}


def certificates(settings: dict[str, str]) -> ssl.SSLContext | bool:
    """Whom to trust: pip's `cert`, else the first of CERTIFICATES, else (True) this machine's own list.

    Raises SourceError, which names the setting, where there is no certificate to read.
    """
    named = {say("pip's setting `cert`"): settings.get("cert"), **{name: os.environ.get(name) for name in CERTIFICATES}}
    name, place = next(((name, place) for name, place in named.items() if place), ("", ""))
    client_cert = settings.get("client-cert")
    if not place and not client_cert:
        return True
    try:
        folder = name == "SSL_CERT_DIR" or os.path.isdir(place)
        context = ssl.create_default_context(**{"capath" if folder else "cafile": place or None})
        if client_cert:
            name, place = say("pip's setting `client-cert`"), client_cert
            context.load_cert_chain(client_cert)
    except OSError as problem:      # ssl.SSLError is one, and says "no certificate or crl found"
        raise SourceError(say("{name}: no certificates can be read from {place} ({problem}). Correct the setting, or unset "
                              "it", name=name, place=place, problem=problem.strerror or problem)) from problem  # fmt: skip
    return context


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
