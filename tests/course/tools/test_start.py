"""The page on which JupyterLab opens: current in every language, and every link of it leads somewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from leaplm.grading.course import list_labs, load_module
from leaplm.learner.progress import PAGE
from leaplm.translation import list_locales
from repo import ROOT

start = load_module(ROOT / "course" / "tools" / "start.py")
LOCALES = ["", *list_locales(ROOT)]


@pytest.mark.parametrize("locale", LOCALES)
def test_the_page_is_current_and_whole(locale):
    text = (start.folder_of(ROOT, locale) / "START.md").read_text(encoding="utf-8")
    assert text == start.page(ROOT, locale), "run: python course/tools/start.py"
    assert "[EN]" not in text and not re.search(r"\{\w+\}", text)


@pytest.mark.parametrize("locale", LOCALES)
def test_its_links_lead_to_every_lab_and_language(locale):
    folder = start.folder_of(ROOT, locale)
    links = re.findall(r"\]\(([^)]+)\)", (folder / "START.md").read_text(encoding="utf-8"))
    own = [link for link in links if link.endswith(PAGE)]  # made by the first mark
    assert len(own) == 1 and (folder / own[0]).resolve() == ROOT / "labs" / PAGE
    assert all((folder / link).is_file() for link in links if link not in own)
    assert {link.partition("/")[0] for link in links if link.endswith(".ipynb")} == set(list_labs(ROOT))
    assert sum(link.endswith("START.md") for link in links) == len(LOCALES) - 1


OTHER_NAMES = {"pt_BR": "pt", "zh-CN": "zh_CN", "fr_FR.UTF-8": "fr", "en_GB": "", "C.UTF-8": "", "de": ""}


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
@pytest.mark.parametrize(("told", "locale"), [*((locale, locale) for locale in LOCALES), *OTHER_NAMES.items()])
def test_jupyterlab_opens_on_it_and_reaches_what_it_leads_to(told, locale):
    """Its root is the folder of all labs: from one language's folder, neither progress nor another one could be reached."""
    words = ["make", "-n", "lab", "PYTHON=true"]
    settings = os.environ | {"LEAPLM_LOCALE": told, "PATH": os.pathsep.join([bin_folder(), os.environ["PATH"]])}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, env=settings)
    command = next(line for line in done.stdout.splitlines() if line.startswith("jupyter lab "))
    words = ["sh", "-c", f"echo {command}"]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, env=settings)
    opened = (start.folder_of(ROOT, locale) / "START.md").relative_to(ROOT / "labs").as_posix()
    assert f"--ServerApp.root_dir=labs --LabApp.default_url=/lab/tree/{opened}" in said.stdout


def bin_folder():
    return str(Path(sys.executable).parent)
