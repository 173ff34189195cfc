"""A model is judged beside the notebook that trained it: in the memory that a mark is said to need, and no more."""

import json
import os
import subprocess
import sys

import pytest
from leaplm.learner.marks import MEMORY_MB
from repo import ROOT

JUDGED = """if True:
    import json, re
    from pathlib import Path

    import psutil
    import torch
    from leaplm import compression, data, models, runtime
    from leaplm.compression import checkpoint
    from leaplm.learner import marks, notebook, releases

    def now():
        return psutil.Process().memory_info().rss / 1e6

    torch.set_num_threads(1)
    torch.manual_seed(0)  # an untrained head is a guess: one of some hundred is good enough for half the points
    rows, tokenizer = data.load_sentiment("eng")["validation"], models.load_tokenizer()
    names, kept = rows.features["label"].names, compression.used_pieces(tokenizer, list(rows["text"]))
    teacher = compression.trim_embeddings(models.load_sequence_classifier(names), kept)
    student = compression.make_student(teacher, (0, 2, 4))
    card = {"lab": "lab8_serving", "language": "eng", "labels": names, "scale": "cpu", "seed": 1}
    checkpoint.save_compressed("artifacts/compressed-cpu.safetensors", student, kept, card)
    del rows, teacher, student
    marks.prepare("lab8_serving")
    runtime.free_memory()
    before = now()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    mark = marks.mark(releases.named_task("lab8_serving.compressed_model"), {})
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6
    runtime.free_memory()
    print(json.dumps({"points": mark.points, "problem": mark.problem, "more": peak - before, "kept": now() - before}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel counts the peak on Linux")
def test_a_saved_model_is_judged_in_the_memory_that_marks_ask_for(assets_ready, tmp_path):
    environment = {**os.environ, "LEAPLM_COURSE": str(ROOT), "LEAPLM_SCALE": "cpu", "OMP_NUM_THREADS": "1"}
    (tmp_path / "artifacts").mkdir()
    done = subprocess.run([sys.executable, "-c", JUDGED], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["points"] == 0 and not found["problem"]  # it is not trained, but it is judged
    assert found["more"] < MEMORY_MB
    assert found["kept"] < 150  # of it, in what the cells below have less
