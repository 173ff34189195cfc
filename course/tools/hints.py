"""Which likely causes a learner can be shown, lab by lab, into course/<lab>/hints.json: those are worth a translation.

    python course/tools/hints.py                  all labs whose bank or checks changed since
    python course/tools/hints.py lab3_lora        these labs, in any case

A bank holds more wrong answers than a mark tells apart: of those that give the same results the first one's words are shown.
None are shown for a saved file, for an answer that never ends, and for one whose fault the check names itself. So each is
judged once, as if a learner had written it.
"""

import argparse
import contextlib
import hashlib
import json
import time
from pathlib import Path

from leaplm.grading.course import lab_file, list_labs
from leaplm.grading.judge.banks import Workbench, load_bank
from leaplm.grading.judge.checks import judge
from leaplm.grading.rebuild.plan import Names
from leaplm.grading.sandbox.student import TimeIsUp
from leaplm.learner.hints import alike, told_alike
from leaplm.learner.listener import Listener, until
from leaplm.learner.marks import SECONDS, has_a_cause, reads_files_only, scale_of_the_grader, silence
from leaplm.learner.undisturbed import undisturbed
from leaplm.whole_file import write_whole

ROOT = Path(__file__).resolve().parents[2]
SEED = 1
FILE = "hints.json"


def seen(root, lab):
    """{check: the words of the wrong answers that a mark tells apart}, both in the bank's order."""
    bank = [answer for answer in load_bank(lab, root) if answer.source and not answer.right]
    with Workbench(lab, root) as bench:
        return {name: told_apart(bench, check, [answer for answer in bank if answer.check == name])
                for name, check in bench.checks.items() if not reads_files_only(check)}


def told_apart(bench, check, answers):
    found = []  # (words, what the check heard, verdict), each unlike those before it
    for answer in answers:
        if tried := judged(bench, check, answer):
            student, verdict = tried
            if not any(alike(student.heard, heard) and told_alike(verdict, said) for _, heard, said in found):
                found.append((answer.why, student.heard, verdict))
    return list(dict.fromkeys(why for why, _, _ in found))


def judged(bench, check, answer):
    """(listener, verdict) of a wrong answer in the solved notebook; None where its mark would show no cause."""
    own = Names(answer.source).bound
    namespace = {name: bench.solved(name) for name in bench.names() if name not in own}
    student, verdict = Listener(namespace, bench.folder, SECONDS), None
    with undisturbed(namespace), silence(), scale_of_the_grader(), contextlib.suppress(Exception, TimeIsUp):
        exec(compile(answer.source, f"<{check.name}>", "exec"), namespace)
        with until(time.monotonic() + check.seconds):
            verdict = judge(check, student, SEED)
    return (student, verdict) if verdict and has_a_cause(check, student, verdict) else None


def version(root, lab):
    """The hash of what decides which hints can be seen."""
    parts = [lab_file(root, lab, name).read_bytes() for name in ("bank.py", "checks.py")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def read(root, lab):
    """{version, checks: {check: [words]}} of the file; of no version where there is none yet."""
    path = lab_file(root, lab, FILE)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"version": "", "checks": {}}


def write(root, lab):
    found = {"version": version(root, lab), "checks": seen(root, lab)}
    write_whole(lab_file(root, lab, FILE), json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def main(argv=None):
    parser = argparse.ArgumentParser(description="Find the hints that learners can see.")
    parser.add_argument("labs", nargs="*")
    chosen = parser.parse_args(argv).labs
    for lab in chosen or list_labs(ROOT):
        if chosen or read(ROOT, lab)["version"] != version(ROOT, lab):
            write(ROOT, lab)
        print(f"{lab}: {sum(map(len, read(ROOT, lab)['checks'].values()))} hints", flush=True)


if __name__ == "__main__":
    main()
