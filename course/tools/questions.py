"""A question bank per lab, for Moodle and for Canvas, from course/<lab>/questions.toml.

    python course/tools/questions.py                  all labs -> build/docs/questions/
    python course/tools/questions.py lab3_lora        one lab

Moodle: Question bank, Import, "Moodle XML format", <lab>.xml. Canvas: Settings, Import Course Content, "QTI .zip file",
<lab>.qti.zip. Numbers that come from a record are read from it when this runs. `quiz/source.py` says how questions are
written.
"""

import argparse
import sys
from pathlib import Path

from leaplm.grading.course import lab_file, list_labs

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE / "quiz"):
    sys.path.insert(0, str(folder))
import canvas  # noqa: E402
import cards  # noqa: E402
import moodle  # noqa: E402
from source import FILE, read_questions  # noqa: E402

ROOT = HERE.parents[1]
OUT = ROOT / "build" / "docs" / "questions"


def write(root, lab, out=OUT):
    """Write the two files of a lab; returns how many questions are in each."""
    questions, title = read_questions(root, lab), f"LeapLM, lab {cards.title(root, lab)}"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{lab}.xml").write_bytes(moodle.bank(title, questions))
    (out / f"{lab}.qti.zip").write_bytes(canvas.package(lab, title, questions))
    return len(questions)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Question banks for Moodle and Canvas.")
    parser.add_argument("labs", nargs="*", help="default: all")
    parser.add_argument("--out", type=Path, default=OUT, help="where the files go")
    options = parser.parse_args(argv)
    for lab in options.labs or list_labs(ROOT):
        there = lab_file(ROOT, lab, FILE).is_file()
        print(f"{lab}: {write(ROOT, lab, options.out)} questions" if there else f"{lab}: has no {FILE} yet", flush=True)


if __name__ == "__main__":
    main()
