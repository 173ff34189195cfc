"""Add a language to a course: hold a part of its texts back, run what a threshold rests on, and keep both for the grader.

Stopped and started again, it goes on where it was: the texts are the same, and a record keeps every run that is done.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from leaplm import added, data, marking
from leaplm.assets.places import store
from leaplm.grading.course import COURSE, lab_file

CHEAPEST_FIRST = ("lab16_small_machines", "lab9_responsible", "lab5_fewshot", "lab4_prompting", "lab6_overfitting",
                  "lab1_pretraining", "lab2_finetuning", "lab3_lora", "lab7_continual", "lab8_serving")
FEWEST_HELDOUT, FEW_HELDOUT = 3, 100  # rows of each class; rows in all below which we say what it means


def run(source, name, labs, root, say):
    """The command `leaplm add-language`; returns its exit status."""
    try:
        chosen = check_labs(labs, root)
        language = hold_back(source, name, root / added.FOLDER, say)
    except (ValueError, OSError) as problem:
        say(f"leaplm add-language: {problem}")
        return 1
    hand_out(language, chosen, root, say)
    failed = [lab for lab in chosen if not calibrate(language, lab, root, say)]
    for lab in chosen:
        say(f"{lab}: {marking.told(lab, language.language)}")
    if failed:
        say(f"leaplm add-language: not finished: {', '.join(failed)}. Run the same command again, it goes on where it was.")
    return int(bool(failed))


def check_labs(labs, root):
    """The labs to calibrate, in the order of their cost. ValueError for a name that is none of them."""
    if unknown := set(labs) - set(CHEAPEST_FIRST):
        raise ValueError(f"{', '.join(sorted(unknown))}: no lab whose model is marked; use {', '.join(CHEAPEST_FIRST)}")
    found = [lab for lab in CHEAPEST_FIRST if lab in (labs or CHEAPEST_FIRST) and lab_file(root, lab, "study.py").is_file()]
    if not found:
        raise ValueError(f"{root} has no course/<lab>/study.py, which says what to run")
    return found


# -- the texts ----------------------------------------------------------------------------------------------------------


def hold_back(source, name, folder, say):
    """The added language of a file (or of a code such as "kin", whose texts we have); its texts are written once.

    Raises ValueError where too few texts would be held back, and where another file was added under this name.
    """
    if source in data.MARKED:
        (folder / source).mkdir(parents=True, exist_ok=True)
        return added.Added(source, folder / source)
    if not data.is_own_file(source):
        raise ValueError(f"{source!r} is neither a CSV file (columns text,label) nor one of {', '.join(data.MARKED)}")
    name = name or Path(source).stem
    if not added.NAME.fullmatch(name) or name in data.NAMES:
        raise ValueError(f"a language cannot be called {name!r}: letters, digits, - and _ only, and none of our own codes. "
                         "Choose another one with --name")  # fmt: skip
    language = added.Added(name, folder / name)
    students, heldout = parts_of(source)
    if language.heldout.is_file():
        if not (same(language.texts, students) and same(language.heldout, heldout)):
            raise ValueError(f"{name!r} was added from other texts, on which marks rest. Choose another name with --name, "
                             f"or, before anything is marked, delete {language.folder}")  # fmt: skip
        return language
    write(language, students, heldout)
    say(f"{name}: {len(students)} texts for students, {len(heldout)} held back in {language.heldout}")
    if len(heldout) < FEW_HELDOUT:
        half = 1.96 * (0.7 * 0.3 / len(heldout)) ** 0.5
        say(f"On {len(heldout)} texts a score of 0.7 is known to +-{half:.2f} only: tell students that the marks of their "
            "models are rough, or label more texts before you begin.")  # fmt: skip
    return language


def parts_of(source):
    """(the students' rows, the rows held back) of a file, by the draw that every own file gets."""
    rows = data.drop_copies(data.read_own(source))
    heldout = rows.text.map(data.is_heldout)
    students, held = rows[~heldout], rows[heldout]
    data.check_classes(students, f"{source}, without the {len(held)} rows held back,")
    counts = held.label.value_counts().reindex(sorted(set(rows.label)), fill_value=0)
    if counts.min() < FEWEST_HELDOUT:
        raise ValueError(f"{source}: of label {counts.idxmin()!r} the draw would hold back {counts.min()} of "
                         f"{int((rows.label == counts.idxmin()).sum())} texts; at least {FEWEST_HELDOUT} are needed to mark "
                         "on. Label more of them: one text in eight is held back.")  # fmt: skip
    return students, held


def same(path, rows):
    known = data.read_added(path)
    return sorted(zip(known.text, known.label, strict=True)) == sorted(zip(rows.text, rows.label, strict=True))


def write(language, students, heldout):
    """Both files, whole or not at all."""
    part = language.folder.with_name(f"{language.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for name, rows in ((language.texts.name, students), (added.HELDOUT, heldout)):
        rows.to_csv(part / name, index=False, columns=["text", "label"], encoding="utf-8", lineterminator="\n")
    for kept in (store() / "studies").glob(f"*-{language.texts.name}-*"):  # teachers of other texts of this name
        kept.unlink()
    os.replace(part, language.folder)


def hand_out(language, labs, root, say):
    """Lay the students' file beside the notebook of each lab; one that is there stays, and is said to hold marked rows."""
    if not language.texts.is_file():
        return
    say(f'In a notebook: LANGUAGE = "{language.language}"')
    for lab in labs:
        place = root / "labs" / lab / language.language
        if place.parent.is_dir() and not place.exists():
            shutil.copy(language.texts, place)
        elif place.exists() and place.read_bytes() != language.texts.read_bytes():
            say(f"{place} is another file than {language.texts}, the one for students: it may hold rows that you mark on")


# -- the runs -----------------------------------------------------------------------------------------------------------


def calibrate(language, lab, root, say):
    """Run what a lab's threshold lacks, in a process of its own, whose memory goes back. Whether all runs are there."""
    say(f"{lab}: our own runs, {marking.FEWEST_RUNS} or more; a row is kept after each")
    study = marking.study_of(lab, language.language)
    words = [sys.executable, "-m", "leaplm.calibration", str(lab_file(root, lab, "study.py").resolve()), "--only", study,
             "--language", language.language, "--record", str(language.record(lab).resolve())]
    return subprocess.run(words, cwd=language.folder, env={**os.environ, COURSE: str(root.resolve())}).returncode == 0
