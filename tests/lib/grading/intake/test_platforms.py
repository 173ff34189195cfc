"""Whom the names in the downloads of Moodle and Canvas mean, in each of their modes."""

import pytest
from leaplm.grading.intake.layouts import sort_out
from leaplm.grading.intake.people import Person
from leaplm.grading.intake.platforms import members, moodle_people
from leaplm.grading.intake.roster import Roster, Student

LAB = "lab0_mini"
CLASS = [
    Student("u1", "Aisha", "Bello", lms_user_id="1001", group="Group 1"),
    Student("u2", "Jean-Luc", "Sène", group="Group 1"),
    Student("u3", "Musa", "Sani", group="Team Kano"),
]
FILE = "_assignsubmission_file"


def ids(folder, names, roster):
    """The students to whom files of these names go, as `collect` finds them."""
    for name in names:
        path = folder / name
        if name.endswith((".ipynb", ".html")):
            path.write_bytes(b"")
        else:
            path.mkdir()
            (path / f"{LAB}.ipynb").write_bytes(b"")
    found = sort_out(folder, LAB, roster)
    assert found.entries == len(names)
    return {own for own, _ in roster.ids(upload.person for upload in found.uploads).values()}


@pytest.mark.parametrize("roster", [Roster(CLASS), Roster()])
@pytest.mark.parametrize("kind", [FILE, f"{FILE}_", f"{FILE}_lab0_mini.ipynb"])
@pytest.mark.parametrize(("form", "found"), [
    ("{name}_{number}", {"u1", "u2", "u3"}),
    ("Group 1-{name}_{number}", {"u1", "u2", "u3"}),  # a group assignment, before Moodle 4.1
    ("Lab group A-2-{name}_{number}", {"u1", "u2", "u3"}),
    ("Default group-{name}_{number}", {"u1", "u2", "u3"}),
])  # fmt: skip
def test_moodles_names_of_people(tmp_path, roster, kind, form, found):
    people = ("Aisha Bello", "Jean-Luc Sène", "Musa Sani")
    names = [form.format(name=name, number=12345 + number) + kind for number, name in enumerate(people)]
    if roster.students:
        assert ids(tmp_path, names, roster) == found
    elif "A-2" not in form:
        assert ids(tmp_path, names, roster) == {"aisha_bello", "jean-luc_sene", "musa_sani"}


def test_a_double_first_name_is_no_group():
    names = [f"Jean-Luc Sène_1{FILE}", f"Anne-Marie Diop_2{FILE}"]
    assert [person.name for person in moodle_people(names, Roster()).values()] == ["Jean-Luc Sène", "Anne-Marie Diop"]


@pytest.mark.parametrize("name", ["Group 1_55", "group1_1001_77_lab0_mini.ipynb"])
def test_a_groups_work_goes_to_each_member(tmp_path, name):
    full = name if name.endswith(".ipynb") else name + FILE
    assert ids(tmp_path, [full], Roster(CLASS)) == {"u1", "u2"}


def test_a_team_without_a_number_and_one_that_nobody_listed(tmp_path):
    assert ids(tmp_path, [f"Default team{FILE}", f"Group 9_3{FILE}"], Roster(CLASS)) == {"default_team", "group_9"}
    assert members(Person("Group 9"), Roster(CLASS)) == [Person("Group 9")]


@pytest.mark.parametrize("word", ["Participant", "Mshiriki", "参与者"])
def test_blind_marking_keeps_everybody_apart_by_number(tmp_path, word):
    names = [f"{word}_{number}{FILE}" for number in (7, 12)]
    assert ids(tmp_path, names, Roster()) == {f"{word.lower()}_7", f"{word.lower()}_12"}


def test_one_blind_participant_is_not_the_one_of_another_lab(tmp_path):
    assert ids(tmp_path, [f"Participant_7{FILE}"], Roster()) == {"participant_7"}


@pytest.mark.parametrize(("name", "found"), [
    ("belloaisha_1001_501_lab0_mini.ipynb", "u1"), ("belloaisha_LATE_1001_501_lab0_mini.ipynb", "u1"),
    ("belloaisha_late_1001_501_lab0_mini-2.ipynb", "u1"), ("x_1001_501_lab0_mini.ipynb", "u1"),
    ("sènejeanluc_9_5_a.ipynb", "u2"),
    ("anon_aB3xY_501_lab0_mini.ipynb", "anon_aB3xY"), ("LATE_anon_aB3xY_501_lab0_mini.ipynb", "anon_aB3xY"),
    ("studenttest_4_501_lab0_mini.ipynb", "studenttest"),
])  # fmt: skip
def test_canvas_names(tmp_path, name, found):
    assert ids(tmp_path, [name], Roster(CLASS)) == {found}


def test_what_was_typed_on_the_page_is_named_and_left_aside(tmp_path):
    names = [f"Aisha Bello_1_assignsubmission_{kind}" for kind in ("onlinetext", "comments")]
    assert ids(tmp_path, [*names, "belloaisha_LATE_1001_text.html", "belloaisha_1001_link.html"], Roster(CLASS)) == set()
