"""`leaplm check` tells a ready machine from one that is not, with one cure for each gap."""

import os
import subprocess
import sys
import venv

import pytest
from leaplm.cli import check
from leaplm.translation import COMMON, list_locales, load_catalogs, look_up
from repo import ROOT


def run(python=sys.executable, **settings):
    done = subprocess.run([python, "-m", "leaplm", "check"], capture_output=True, text=True, env=os.environ | settings)
    return done.returncode, done.stdout


def gaps(report):
    return [line for line in report.splitlines() if line.startswith(("MISSING", "optional"))]


def test_ready_machine(assets_ready):
    code, report = run()
    assert code == 0, report
    assert [line.split()[0] for line in report.splitlines()[: len(check.sections())]] == list(check.sections())
    assert "torch " in report
    assert "minilm" in report
    assert report.endswith("This machine is ready for the labs.\n")


def test_empty_store_names_each_missing_asset_and_its_cure(tmp_path):
    code, report = run(LEAPLM_HOME=str(tmp_path))
    assert code == 1
    assert [line.split()[0] for line in gaps(report)] == ["MISSING", "MISSING", "optional", "optional", "optional"]
    assert all(f"leaplm fetch {name}" in line for name, line in
               zip(["minilm", "vader", "smollm2", "afrisenti", "sib200"], gaps(report), strict=True))
    assert "on request: kolibri" in report


def test_bare_python_without_any_package_still_reports(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    code, report = run(str(python), PYTHONPATH=str(ROOT / "lib"))
    assert code == 1
    assert "MISSING   torch (No module named 'torch'). To mend it: python install.py" in report


    assert run(str(python), PYTHONPATH=str(ROOT / "lib"), LEAPLM_LOCALE="fr") == (code, report)  # no catalogue can be read


def test_the_report_is_in_the_readers_language(assets_ready, monkeypatch, capsys):
    """In this process, where the libraries that it looks at are imported already."""
    monkeypatch.setenv("LEAPLM_COURSE", str(ROOT))
    for locale in list_locales(ROOT):
        monkeypatch.setenv("LEAPLM_LOCALE", locale)
        code, report = check.main(), capsys.readouterr().out
        ready = look_up("This machine is ready for the labs.", load_catalogs(ROOT, COMMON, locale))
        assert code == 0 and report.splitlines()[-1] == ready and "core(s)" not in report


def test_the_help_is_in_the_readers_language():
    command = [sys.executable, "-m", "leaplm", "hand-in", "--help"]
    for locale in list_locales(ROOT):
        settings = os.environ | {"LEAPLM_LOCALE": locale, "COLUMNS": "300", "LEAPLM_COURSE": str(ROOT)}
        told = subprocess.run(command, capture_output=True, text=True, env=settings, check=True).stdout
        catalogs = load_catalogs(ROOT, COMMON, locale)
        for words in ("Options", "Where the zip is written.", "Show this message and exit."):
            assert look_up(words, catalogs) in told and (words not in told or look_up(words, catalogs) == words), locale


def test_without_torch_a_machine_that_cannot_have_it_is_told_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(check, "unsupported", lambda: "there is no PyTorch for this")
    _, [gap] = check.describe_gpu()
    assert gap.needed and gap.mend == "there is no PyTorch for this"


def test_package_outside_its_range_is_said_with_the_version_that_is_here(tmp_path, monkeypatch):
    """An installation of leaplm that asks for other things, found before the real one."""
    asked = ["torch>=999", "numpy>=1.26", "nothing-like-this>=1; extra == 'grade'", "other>=1; extra == 'wandb'"]
    (tmp_path / "leaplm-9.dist-info").mkdir()
    lines = ["Metadata-Version: 2.4", "Name: leaplm", "Version: 9", *(f"Requires-Dist: {line}" for line in asked)]
    (tmp_path / "leaplm-9.dist-info" / "METADATA").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    line, missing = check.describe_packages()
    assert line.startswith("numpy ")
    assert [(gap.what.partition(" (")[0], gap.needed) for gap in missing] == [
        ("package torch>=999", True), ("package nothing-like-this>=1", False)]
    assert f"({check._version('torch')} is here)" in missing[0].what


@pytest.mark.parametrize(("memory", "gaps"), [(8e3, 0), (1e3, 1)])
def test_little_memory_is_a_warning(monkeypatch, memory, gaps):
    monkeypatch.setattr(check, "memory_mb", lambda: memory)
    _, missing = check.describe_machine()
    assert [gap.needed for gap in missing] == [False] * gaps
