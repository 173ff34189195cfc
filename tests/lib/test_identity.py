"""Who works here, and the seed that follows."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leaplm import identity


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    monkeypatch.delenv("LEAPLM_STUDENT", raising=False)
    (tmp_path / "lab2_finetuning").mkdir()
    monkeypatch.chdir(tmp_path / "lab2_finetuning")
    return tmp_path


def seed_of(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEAPLM_STUDENT", name)
        return identity.student_seed()


def test_a_name_typed_in_one_lab_holds_in_all(nobody, monkeypatch, capsys):
    before = identity.student_seed()
    identity.sign("  Amina   Bello ")
    mine = identity.student_seed()
    assert mine != before and str(mine) in capsys.readouterr().out
    (nobody / "lab9_responsible").mkdir()
    monkeypatch.chdir(nobody / "lab9_responsible")
    assert identity.student_seed() == mine
    identity.sign("")
    assert identity.student_name() == "Amina Bello"


def test_without_a_name_the_machine_decides(nobody, monkeypatch):
    monkeypatch.setattr(identity.platform, "node", lambda: "pc-1")
    first = identity.student_seed()
    monkeypatch.setattr(identity.platform, "node", lambda: "pc-2")
    assert identity.student_seed() != first
    monkeypatch.setattr(identity.getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError("uid 1000")))
    assert 1 <= identity.student_seed() <= 9_999_999


def test_a_folder_that_cannot_be_written_is_told(nobody, monkeypatch, capsys):
    (nobody / identity.SIGNED).mkdir()  # a folder of the file's name: not to be written, not even by root
    identity.sign("Musa")
    assert identity.student_name() == "Musa" and "cannot be written" in capsys.readouterr().out


@given(st.text())
def test_every_name_gives_a_seed_that_torch_takes(name):
    assert 1 <= seed_of(name.replace("\0", "").encode("utf-8", "ignore").decode()) <= 999_999_999


@pytest.mark.parametrize("name", ["Adébáyọ̀", "ñandú", "ELIF"])
def test_letters_typed_in_another_way_are_the_same_name(name):
    forms = {seed_of(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}
    assert len(forms | {seed_of(name.lower())}) == 1


def test_a_class_has_different_seeds():
    assert len({seed_of(f"20/{number:04}") for number in range(300)}) == 300


def test_the_seed_of_a_card_can_be_asked_for():
    assert seed_of("seed 4711") == 4711 and seed_of("Seed 0") == 0
