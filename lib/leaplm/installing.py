"""What an installation has to know: where the packages run, which of pip's settings may reach it, what a failure means.

Needs the standard library alone: install.py runs this before anything is installed, and a bundle's installer holds a copy.
"""

import ast
import os
import platform
import re
import subprocess
import sys
import sysconfig

PYTHONS = ((3, 11), (3, 14))    # the oldest and newest for which PyTorch has wheels
GLIBC, MACOS = (2, 28), 14      # the oldest ones, also PyTorch's
LINUX = ("x86_64", "aarch64")
ELSEWHERE = "On such a computer the labs run in a browser, on Colab or Binder"
# pip's settings that say how to reach an index. Any other one (user, target, prefix, no-deps, require-hashes ...) was
# made for other installations and can only break this one.
SITE = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "cert", "client-cert", "timeout",
        "default-timeout", "retries", "resume-retries", "cache-dir", "no-cache-dir", "keyring-provider", "use-deprecated",
        "use-feature")


class PipError(RuntimeError):
    """pip cannot be asked; the message says why and what to do."""


def unsupported():
    """Why the course cannot be installed with this Python, and what works instead; "" where it can.

    What is refused here is what PyTorch has no wheels for; so it is said before anything is downloaded.
    """
    (oldest, newest), version = PYTHONS, sys.version_info[:2]
    if not oldest <= version <= newest:
        return (f"Python {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]} is needed; this is {platform.python_version()} "
                f"({sys.executable})")
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "the usual Python is needed, with its global lock; this is another build: " + sys.version.replace("\n", " ")
    if sys.maxsize <= 2**32:
        return f"a Python of 64 bits is needed; this one has 32 ({sys.executable}). {ELSEWHERE}"
    system = {"Linux": _unsupported_linux, "Darwin": _unsupported_mac, "Windows": _unsupported_windows}
    if platform.system() not in system:
        return f"there is no PyTorch for {platform.system()}, only for Linux, macOS and Windows. {ELSEWHERE}"
    return system[platform.system()]()


def _unsupported_linux():
    libc, version = platform.libc_ver()
    if platform.machine() not in LINUX:
        return f"there is no PyTorch for Linux on {platform.machine()}, only on {' and '.join(LINUX)}. {ELSEWHERE}"
    if libc != "glibc":
        return f"there is no PyTorch for a Linux without glibc, such as Alpine. Use Debian, Ubuntu or Fedora. {ELSEWHERE}"
    if tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
        return f"glibc {GLIBC[0]}.{GLIBC[1]} (Debian 10, Ubuntu 20.04) or newer is needed; this is {version}. {ELSEWHERE}"
    return ""


def _unsupported_mac():
    release = platform.mac_ver()[0]
    if platform.machine() != "arm64":
        return ("PyTorch has no packages any more for Macs with an Intel processor. (On one with an Apple processor, this "
                f"Python is one for Intel: take the one of python.org.) {ELSEWHERE}")
    # A Python built long ago hears 10.16 from every macOS after 10.15: it does not know.
    if release and not release.startswith("10.16") and int(release.split(".")[0]) < MACOS:
        return f"macOS {MACOS} or newer is needed for PyTorch; this is {release}. Update it if you can. {ELSEWHERE}"
    return ""


def _unsupported_windows():
    built_for = sysconfig.get_platform()
    if built_for != "win-amd64":
        return (f"the Python of python.org for 64-bit Windows (x86-64) is needed; this one is for {built_for} "
                f"({sys.executable}). {ELSEWHERE}")
    return ""


def pip_settings(python=sys.executable):
    """pip's options as the pip of `python` resolves them: files, then sections, then PIP_* variables.

    Raises PipError where pip cannot read its own settings; a Python without pip has those of the environment.

    >>> pip_settings()                              # doctest: +SKIP
    {'index-url': 'https://pypi.example.org/simple', 'find-links': '/opt/wheels'}
    """
    settings = {} if os.environ.get("PIP_CONFIG_FILE") == os.devnull else _settings_in_files(python)
    variables = ((key[4:].lower().replace("_", "-"), value) for key, value in os.environ.items() if key[:4] == "PIP_")
    settings.update((key, value) for key, value in variables if value)
    return settings


def _settings_in_files(python):
    """What stands in pip's files: pip itself is asked. It reads none where PIP_CONFIG_FILE is os.devnull."""
    command = [python, "-I", "-m", "pip", "--disable-pip-version-check", "config", "list"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace",
                          env={**own_environment(os.environ), "PYTHONUTF8": "1"})
    if done.returncode and "No module named pip" not in done.stderr:
        raise PipError(f"pip cannot read its settings: {' '.join(done.stderr.split())[-500:]}. Correct that file, or set "
                       f"PIP_CONFIG_FILE={os.devnull}")
    entries = [line.partition("=") for line in done.stdout.splitlines() if "=" in line]
    settings = {}
    for section in ("global", "install", "download"):
        mine = ((key[len(section) + 1:], value) for key, _, value in entries if key.startswith(section + "."))
        settings.update((key, ast.literal_eval(value)) for key, value in mine)
    return settings


def pip_environment(settings, **more):
    """The environment for a pip that installs the course: of pip's settings those that reach the index, and `more`.

    >>> kept = pip_environment({"index-url": "https://pypi.example.org/simple", "user": "true"})
    >>> kept["PIP_INDEX_URL"], "PIP_USER" in kept
    ('https://pypi.example.org/simple', False)
    """
    own = {key: value for key, value in own_environment(os.environ).items() if key[:4] != "PIP_"}
    kept = {"PIP_" + key.upper().replace("-", "_"): str(settings[key]) for key in SITE if key in settings}
    return {**own, **kept, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "no",
            **more}  # `load_once` compiles what is needed, pip all of PyTorch; pip takes "no" for a yes to "no-compile"


UV_NAMES = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS",
            "PIP_CERT": "SSL_CERT_FILE", "PIP_TRUSTED_HOST": "UV_INSECURE_HOST", "PIP_DEFAULT_TIMEOUT": "UV_HTTP_TIMEOUT",
            "PIP_NO_INDEX": "UV_NO_INDEX", "PIP_PROXY": "ALL_PROXY"}


def uv_environment(environment):
    """uv's names for what an environment of pip says of indexes: uv reads nothing of pip's.

    >>> uv_environment({"PIP_INDEX_URL": "https://pypi.example.org/simple", "PIP_RETRIES": "9"})
    {'UV_DEFAULT_INDEX': 'https://pypi.example.org/simple'}
    """
    return {UV_NAMES[name]: value for name, value in environment.items() if name in UV_NAMES and value}


def own_environment(variables):
    """The variables without those meant for another Python: with PYTHONHOME or PYTHONPATH a new one does not start."""
    return {key: value for key, value in variables.items() if not key.startswith(("PYTHON", "__PYVENV"))}


LOADED = ("torch", "transformers", "peft", "datasets", "sklearn.linear_model", "matplotlib.pyplot", "ipykernel.kernelapp",
          "jupyterlab.labapp", "nbgrader", "leaplm.models", "leaplm.training")


def load_once(python):
    """Load what the labs load: the first lab then starts fast, and what this computer cannot load is known today.

    Python keeps the compiled form of what it loads; what it has loaded it need not collect. python: the new environment's.
    Returns what failed, in words, or "".
    """
    code = "import gc; gc.disable(); import " + ", ".join(LOADED)
    done = subprocess.run([python, "-I", "-c", code], env=own_environment(os.environ),
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = done.stderr.decode(errors="replace").strip().splitlines()
    failure = (said or [f"Python ended with {done.returncode}"])[-1]
    return f"the packages are here, but this computer cannot load them all: {failure}" if done.returncode else ""


def is_yes(value):
    """Whether pip takes a setting's value as true."""
    return str(value).strip().lower() in ("1", "true", "t", "yes", "y", "on")


# What pip says when it fails -> what that means, and what to do. The first that fits: causes before consequences, so a
# line that is down comes before the "no matching distribution" that pip makes of it.
FAILURES = (
    (r"Configuration file .*(could not be|contains)|Unable to load configuration|invalid pip configuration",
     "pip's own settings cannot be read. `pip config debug` shows which files there are"),
    (r"No space left|Errno 28|Errno 122|quota exceeded|WinError 112|not enough space",
     "The disk is full. The installation needs 3 GB, and as much for a moment in the temporary folder (TMPDIR)"),
    (r"MemoryError|Cannot allocate memory|Errno 12\b", "The memory is full. Close other programs and run this again"),
    (r"Missing dependencies for SOCKS",
     "pip cannot use a SOCKS proxy (ALL_PROXY). Set HTTPS_PROXY to an http proxy and unset ALL_PROXY, or install from a "
     "bundle (see README.md)"),
    (r"407 Proxy|ProxyError|proxy connection error|[Cc]annot connect to proxy|check your proxy|scheme for proxy|proxy URL",
     "The proxy does not let pip through. Look at HTTPS_PROXY, HTTP_PROXY, NO_PROXY and pip's setting proxy"),
    (r"TLS CA certificate bundle|no certificate or crl|invalid path: .*\.(pem|crt)",
     "The file of certificates cannot be read. Look at pip's setting cert (PIP_CERT), REQUESTS_CA_BUNDLE and SSL_CERT_FILE"),
    (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|SSLError|SSLCertVerificationError|certificate has expired",
     "The index's certificate is not trusted. Is this computer's clock right? Where the network opens https, set PIP_CERT "
     "to the file with its certificate (ask who runs the network)"),
    (r"\b40[13] (Client Error|Unauthorized|Forbidden)|User for \S+:|Credentials not correct",
     "The package index asks for a name and a password, or refuses. Look at index-url in `pip config list`"),
    (r"DO NOT MATCH THE HASHES|THESE PACKAGES DO NOT MATCH|--require-hashes",
     "A package came damaged, or is not what the index says it is. Run this again; if it stays so, `pip cache purge`"),
    (r"NewConnectionError|new connection|NameResolution|[Nn]ame resolution|getaddrinfo|[Tt]imed out|ConnectTimeout|"
     r"Connection(Reset|Refused|Aborted|Error|\w*\s(refused|reset|aborted|broken))|unreachable|IncompleteRead|"
     r"RemoteDisconnected|Max retries|Download failed after|incomplete-download|\b5\d\d Server Error",
     "No package index within reach, or the line broke. Run this again on a better line: what came is kept. Or install from "
     "a bundle (see README.md)"),
    (r"Permission denied|Errno 13|Errno 1\b|Errno 30|Read-only file system|WinError (5|32)\b|Access is denied",
     "A file cannot be written. Is this folder yours, and is the course open in another program (JupyterLab)? Close it"),
    (r"File name too long|Errno 36|WinError 206|Long Path|long path",
     "A path is too long for this system. Move the course to a folder with a short path"),
    (r"ResolutionImpossible|conflicting dependencies|conflicts with|Cannot install .* because",
     "The index's versions do not fit each other. Has it all that constraints.txt names?"),
    (r"is not a supported wheel|require a different python|requires a different Python",
     "The packages are for another version of Python or another kind of computer"),
    (r"No matching distribution found for (?P<what>[^\s(]+)",
     "The index that pip uses does not have {what}, for this kind of computer. Is a package index within reach? "
     "`pip config list` shows which one is set"),
    (r"Failed to build|Failed building|subprocess-exited-with-error|metadata-generation-failed|build dependencies did not",
     "The index has no ready-made package for this computer, so pip tried to build one from source, which failed"),
)


def explain(said):
    """What a failure of pip means and what to do, from its own words; "" for one that is not known.

    >>> explain("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device")[:17]
    'The disk is full.'
    """
    found = ((re.search(pattern, said), meaning) for pattern, meaning in FAILURES)
    return next((meaning.format(**match.groupdict()) for match, meaning in found if match), "")


def explain_pip(said, python, environment):
    """`explain`, where pip found no package: it keeps for itself why an index gave none, so it is asked again, aloud."""
    missing = re.search(r"No matching distribution found for ([\w.-]+)", said)
    if missing:
        command = [python, "-I", "-m", "pip", "-vv", "--retries", "0", "--timeout", "10", "index", "versions", missing[1]]
        again = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = again.stdout.decode(errors="replace").splitlines()
        said = "\n".join([*(line for line in lines if line.startswith("Could not fetch")), said])
    return explain(said)
