"""Looks a person may want to take behind the marks: retrain some submissions in full, and find near-equal artifacts.

Neither changes a mark. The same code with the same seed on the same kind of machine makes the same file, so near-equal
artifacts are a question to ask, not an answer.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations, islice
from pathlib import Path

import numpy as np
from safetensors.numpy import load

from leaplm.grading.judge.engine import Engine
from leaplm.grading.sandbox.walls import Limits
from leaplm.grading.submission import ARTIFACTS, Submission
from leaplm.identity import SIGNED

NEAR = 0.01  # relative distance of two artifacts' numbers
SAMPLE = 4096  # numbers compared of each artifact
# A whole training run at scale "cpu", on a slow machine with one thread.
PATIENT = Limits(memory_mb=4000, cell_seconds=3600, submission_seconds=4 * 3600, disk_mb=1000)


@dataclass(frozen=True)
class Retrained:
    """One audited submission: what its own artifacts are worth, and what the same code gives when it trains again."""

    student: str
    handed_in: dict[str, str]  # check -> points and message, of the checks that read artifacts
    trained_again: dict[str, str]
    distances: dict[str, float]  # artifact -> relative distance of the two files' numbers

    def lines(self) -> list[str]:
        said = [f"{self.student}, {name}: handed in {self.handed_in[name]}; trained again {self.trained_again[name]}"
                for name in self.handed_in]  # fmt: skip
        said += [f"{self.student}, {name}: the numbers differ by {apart:.1%}" for name, apart in self.distances.items()]
        return said or [f"{self.student}: its code saves no artifact of a name that was handed in"]


def retrain(course: Path, lab: str, submissions: Iterable[Submission], count: int, unsafe: bool,
            say: Callable[[str], None], limits: Limits = PATIENT, scale: str = "cpu") -> list[Retrained]:  # fmt: skip
    """Runs the first `count` submissions in full, as a student does, and compares what comes out with what was handed in."""
    from leaplm.grading.judge.heldout import student_assets  # needs what the labs need; a plain assignment does without

    whole = (submission for submission in submissions if submission.notebook and submission.files)
    done = []
    # On the rows that students train on, in an exam too: what this prints is for the teacher alone.
    with Engine(course, lab, jobs=1, limits=limits, unsafe=unsafe, scale=scale, assets=student_assets()) as engine:
        for submission in islice(whole, count):
            say(f"training {submission.student}'s notebook again, in full ...")
            first = engine.grade(submission, seed=0)
            again = engine.grade(replace(submission, files=signed(submission.files)), seed=0, full=True)
            made = {f"{ARTIFACTS}/{name}": data for name, data in again.artifacts.items()}
            second = engine.grade(replace(submission, files={**submission.files, **made}), seed=0)
            done.append(compare(submission, made, first.record, second.record))
            for line in done[-1].lines():
                say("  " + line)
    return done


def signed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The file by which a notebook takes the seed that stands in an artifact's card: the same code trains the same model.

    None where no card has one; then the notebook takes the seed of this machine.
    """
    from leaplm.artifacts import read_artifact

    for content in files.values():
        with contextlib.suppress(Exception):  # any: the file is a student's, and may be of another kind
            seed = read_artifact(content)[0]["seed"]
            if type(seed) is int and 0 <= seed < 10**9:
                return {SIGNED: f"seed {seed}\n".encode()}
    return {}


def compare(submission: Submission, made: dict[str, bytes], first: dict, second: dict) -> Retrained:
    """What changed when the artifacts that were handed in gave way to those trained again."""
    told = [{check["name"]: f"{check['points']:g} of {check['max']:g} ({check['message']})" for check in record["checks"]}
            for record in (first, second)]  # fmt: skip
    changed = [name for name in told[0] if told[0][name] != told[1][name]]
    distances = {name: distance(sample(submission.files[name]), sample(made[name]))
                 for name in made if name in submission.files and name.endswith(".safetensors")}  # fmt: skip
    return Retrained(submission.student, *({name: said[name] for name in changed} for said in told), distances)


def near_duplicates(submissions: Iterable[Submission]) -> list[str]:
    """In words, the students whose artifacts are the same file, or nearly the same numbers."""
    owners: dict[tuple[str, str], list[str]] = defaultdict(list)  # (artifact, hash) -> students
    numbers: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for submission in submissions:
        for name, content in submission.files.items():
            if name.startswith(f"{ARTIFACTS}/"):
                key = name, hashlib.sha256(content).hexdigest()
                owners[key].append(submission.student)
                numbers[key] = numbers.get(key) or sample(content)
    said = [f"{name} is the same file for {', '.join(same)}" for (name, _), same in owners.items() if len(same) > 1]
    for one, other in combinations(sorted(owners), 2):
        if one[0] == other[0] and (apart := distance(numbers[one], numbers[other])) <= NEAR:
            names = " and ".join(", ".join(owners[key]) for key in (one, other))
            said.append(f"the numbers of {one[0]} differ by {apart:.2%} only between {names}")
    return said


def sample(content: bytes) -> dict[str, np.ndarray]:
    """Some numbers of each tensor of an artifact, the same places in every one; empty if it is no artifact."""
    try:
        tensors = load(content)
        return {f"{name} {tensor.shape}": some_of(name, tensor, max(1, SAMPLE // len(tensors)))
                for name, tensor in tensors.items() if tensor.dtype.kind == "f" and tensor.size}  # fmt: skip
    except Exception:  # any: the file is a student's, and safetensors raises its own types
        return {}


def some_of(name: str, tensor: np.ndarray, count: int) -> np.ndarray:
    rng = np.random.default_rng(list(name.encode()))
    return tensor.reshape(-1)[rng.integers(tensor.size, size=count)].astype(np.float64)


def distance(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> float:
    """||a - b|| / ||a|| over the tensors that both have; infinite if most are not shared.

    >>> round(distance({"w": np.array([3.0, 4.0])}, {"w": np.array([3.0, 4.5])}), 3)
    0.1
    """
    shared = sorted(set(one) & set(other))
    if 2 * len(shared) <= max(len(one), len(other)):
        return float("inf")
    a, b = (np.concatenate([side[name] for name in shared]) for side in (one, other))
    scale = np.linalg.norm(a)
    return float(np.linalg.norm(a - b) / scale) if scale else float("inf")
