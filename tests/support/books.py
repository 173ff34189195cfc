"""The book with one lab, at scale tiny: built once for all tests that read it, whichever process they run in."""

import os
import shutil

import pytest
from filelock import FileLock
from leaplm.grading.course import load_module
from repo import ROOT

build = load_module(ROOT / "course" / "tools" / "book" / "build.py")
ONE_LAB = ("--labs", "lab5_fewshot", "--scale", "tiny")


def web_site(tmp_path_factory, locale=""):
    """The folder of the web site in a language, as build.py makes it; nobody changes it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all processes of this run
    kept, made = folder / f"book-{locale or 'en'}", folder / f"book-{locale or 'en'}-made"
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            build_book(made, locale)
            shutil.move(made, kept)
    return kept / locale / "html"


def build_book(out, locale="", *more):
    """Build it into a folder; the language of this process stays."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_LOCALE", "")  # the build sets it; this brings it back
        build.main([*ONE_LAB, "--locale", locale, "--out", str(out), *more])
