"""What stands between a machine and an installation is said before it costs anything, and said as what it is."""

import ast
import os
import platform
import subprocess
import sys
import sysconfig

import pytest
from leaplm import installing
from loopback import Loopback
from repo import ROOT

HERE = {"system": "Linux", "machine": "x86_64", "libc": ("glibc", "2.35"), "mac": "", "built": "linux-x86_64"}
MACHINES = [
    ({}, ""),
    ({"machine": "aarch64", "libc": ("glibc", "2.28")}, ""),
    ({"system": "Darwin", "machine": "arm64", "mac": "14.0"}, ""),
    ({"system": "Darwin", "machine": "arm64", "mac": "26.1"}, ""),
    ({"system": "Darwin", "machine": "arm64", "mac": "10.16"}, ""),     # how an old build of Python calls any new macOS
    ({"system": "Windows", "machine": "AMD64", "built": "win-amd64"}, ""),
    ({"system": "Darwin", "machine": "x86_64", "mac": "14.5"}, "Intel processor"),
    ({"system": "Darwin", "machine": "arm64", "mac": "13.6.9"}, "macOS 14 or newer is needed for PyTorch; this is 13.6.9"),
    ({"machine": "armv7l"}, "Linux on armv7l"),
    ({"machine": "riscv64"}, "Linux on riscv64"),
    ({"libc": ("", "")}, "without glibc, such as Alpine"),
    ({"libc": ("musl", "1.2.5")}, "without glibc, such as Alpine"),
    ({"libc": ("glibc", "2.17")}, "this is 2.17"),
    ({"system": "Windows", "machine": "ARM64", "built": "win-arm64"}, "win-arm64"),
    ({"system": "Windows", "machine": "AMD64", "built": "mingw_x86_64_ucrt"}, "python.org for 64-bit Windows"),
    ({"system": "FreeBSD", "machine": "amd64"}, "no PyTorch for FreeBSD"),
]


@pytest.mark.parametrize(("facts", "reason"), MACHINES)
def test_a_machine_without_pytorch_is_told_first_and_where_the_labs_run_instead(monkeypatch, facts, reason):
    facts = HERE | facts
    monkeypatch.setattr(platform, "system", lambda: facts["system"])
    monkeypatch.setattr(platform, "machine", lambda: facts["machine"])
    monkeypatch.setattr(platform, "libc_ver", lambda: facts["libc"])
    monkeypatch.setattr(platform, "mac_ver", lambda: (facts["mac"], ("", "", ""), facts["machine"]))
    monkeypatch.setattr(sysconfig, "get_platform", lambda: facts["built"])
    told = installing.unsupported()
    assert (reason in told and told.endswith("Colab or Binder")) if reason else told == ""


@pytest.mark.parametrize(("version", "fits"), [
    ((3, 10, 14), False), ((3, 11, 0), True), ((3, 14, 2), True), ((3, 15, 0), False),
])
def test_a_python_for_which_there_is_no_pytorch_is_told(monkeypatch, version, fits):
    monkeypatch.setattr(sys, "version_info", version)
    assert (installing.unsupported() == "") == fits
    assert fits or installing.unsupported().startswith("Python 3.11 to 3.14 is needed")


def test_install_and_the_bundles_installer_ask_before_they_do_anything(tmp_path):
    """With a Python that calls itself another machine's: nothing is made, one sentence is said."""
    (tmp_path / "sitecustomize.py").write_text("import platform\nplatform.system = lambda: 'Darwin'\n"
                                               "platform.machine = lambda: 'x86_64'\n")
    for script in (ROOT / "install.py", ROOT / "lib/leaplm/bundle/installer.py"):
        environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT / 'lib'}"}
        done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 1 and done.stdout == ""
        assert "Intel processor" in done.stderr and "Traceback" not in done.stderr


# ---- settings --------------------------------------------------------------------------------------------------

OF_PIP = ["index-url", "extra-index-url", "proxy", "cert", "trusted-host", "user", "target", "prefix", "root", "no-deps",
          "require-hashes", "require-virtualenv", "dry-run", "python-version", "platform", "no-build-isolation",
          "constraint"]


@pytest.mark.parametrize("settings", [dict.fromkeys(OF_PIP, "true"), *({key: "/a b/c"} for key in OF_PIP)])
def test_only_what_reaches_an_index_gets_to_pip(settings):
    given_to_pip = installing.pip_environment(settings)
    for key, value in settings.items():
        variable = "PIP_" + key.upper().replace("-", "_")
        assert given_to_pip.get(variable) == (value if key in installing.SITE else None)
    assert given_to_pip["PIP_CONFIG_FILE"] == os.devnull
    assert not any(key.startswith("PYTHON") for key in given_to_pip)


def test_a_file_of_settings_that_pip_cannot_read_is_said(tmp_path, monkeypatch):
    (tmp_path / "pip.conf").write_text("user = true\n[global")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    with pytest.raises(installing.PipError, match="pip.conf"):
        installing.pip_settings()


def test_pip_itself_reads_no_file_where_it_is_told_so(tmp_path, monkeypatch):
    """So it need not be asked."""
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip/pip.conf").write_text("[global]\nproxy = http://proxy.example\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    assert installing._settings_in_files(sys.executable)["proxy"] == installing.pip_settings()["proxy"]
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert installing._settings_in_files(sys.executable) == {} and "proxy" not in installing.pip_settings()


# ---- failures --------------------------------------------------------------------------------------------------

NONE = "ERROR: No matching distribution found for torch==2.13.0"
OS_ERROR = "ERROR: Could not install packages due to an OSError: "
SAID = [
    ("The disk is full", OS_ERROR + "[Errno 28] No space left on device"),
    ("A file cannot be written", OS_ERROR + "[WinError 5] Access is denied: 'c:\\x.pyd'"),
    ("A path is too long", "HINT: This error might have occurred since this system has no Windows Long Path support."),
    ("A package came damaged", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."),
    ("The index's certificate", "Could not fetch URL https://a/: connection error: Max retries exceeded (Caused by SSLError("
     "1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate')))\n" + NONE),
    ("The proxy", "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel "
     "connection failed: 407 Proxy Authentication Required'))': /simple/torch/\n" + NONE),
    ("No package index within reach", "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(': "
     "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/\n" + NONE),
    ("The index's versions", "ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics"),
    ("The index has no ready-made", "  error: command 'gcc' failed: No such file\n  ERROR: Failed building wheel for gguf"),
    ("The index that pip uses does not have torch==2.13.0,", "ERROR: Could not find a version that satisfies the "
     "requirement torch==2.13.0 (from versions: none)\n" + NONE),
    ("The memory is full", "MemoryError"),
    ("The file of certificates", OS_ERROR + "Could not find a suitable TLS CA certificate bundle, invalid path: /a.pem"),
]


@pytest.mark.parametrize(("meaning", "said"), SAID)
def test_pips_words_are_read_for_what_they_mean(meaning, said):
    assert installing.explain(said).startswith(meaning)


def test_what_is_not_known_is_not_guessed():
    assert installing.explain("ERROR: something new") == ""


@pytest.fixture
def index():
    loopback = Loopback()
    yield loopback
    loopback.close()


@pytest.mark.parametrize(("settings", "meaning"), [
    ({"PIP_INDEX_URL": "{index}/simple"}, "The index that pip uses does not have no-such-thing"),
    ({"PIP_INDEX_URL": "http://127.0.0.1:9/simple"}, "No package index within reach"),
    ({"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": ""}, "pip cannot use a SOCKS proxy"),
    ({"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}, "The proxy does not let pip through"),
    ({"PIP_CONFIG_FILE": "{folder}/pip.conf"}, "pip's own settings cannot be read"),
])
def test_a_real_pip_fails_and_is_understood(index, tmp_path, settings, meaning):
    (tmp_path / "pip.conf").write_text("no section")
    plain = {name: value for name, value in os.environ.items()
             if not name.startswith("PIP_") and name.lower() not in ("all_proxy", "http_proxy", "https_proxy")}
    plain |= {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_TIMEOUT": "2"}
    plain |= {name: value.format(index=index.url, folder=tmp_path) for name, value in settings.items()}
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", tmp_path, "no-such-thing"]
    done = subprocess.run(command, env=plain, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode and installing.explain_pip(said, sys.executable, plain).startswith(meaning), said


# ---- encodings -------------------------------------------------------------------------------------------------

LINUX_ONLY = ("lib/leaplm/grading/", "lib/leaplm/runtime.py")      # these read /proc, or run where all is UTF-8


def without_encoding(path):
    """Lines of a program that read or write text in whatever code page a machine has."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        mode = "".join(ast.unparse(word) for word in node.args[1:2])
        built_in = name == "open" and isinstance(node.func, ast.Name) and "b'" not in mode
        if name in ("read_text", "write_text") or built_in:
            yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"


def test_text_is_read_and_written_in_utf_8_on_every_system():
    sources = [ROOT / "install.py", *(ROOT / "lib").rglob("*.py")]
    found = [line for path in sources for line in without_encoding(path)]
    assert [line for line in found if not line.startswith(LINUX_ONLY)] == []


@pytest.mark.parametrize("command", [["check"], ["fetch", "--help"], ["grade", "--help"]])
def test_a_console_with_few_signs_ends_no_command(command, tmp_path):
    """The code page 437 of an old Windows console has no …, and ASCII no ·."""
    for code_page in ("cp437", "ascii"):
        console = {"PYTHONIOENCODING": code_page, "PYTHONUTF8": "0", "LEAPLM_HOME": str(tmp_path / "王芳")}
        done = subprocess.run([sys.executable, "-m", "leaplm", *command], capture_output=True, env=os.environ | console)
        assert b"Traceback" not in done.stderr + done.stdout and done.stdout
