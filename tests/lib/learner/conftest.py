"""The mini course, and a folder of labs in which a learner works."""

import pytest
from mini import LAB, make_course


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """The root of the mini course."""
    return make_course(tmp_path_factory.mktemp("learner") / "course")


@pytest.fixture
def labs(course, tmp_path, monkeypatch):
    """An empty folder labs/lab0_mini of a learner, who is in it."""
    monkeypatch.setenv("LEAPLM_COURSE", str(course))
    monkeypatch.delenv("LEAPLM_LOCALE", raising=False)
    folder = tmp_path / "labs"
    (folder / LAB).mkdir(parents=True)
    monkeypatch.chdir(folder / LAB)
    return folder
