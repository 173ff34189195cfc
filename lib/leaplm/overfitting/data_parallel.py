"""Data-parallel training on one machine: the same model in several processes, each with its share of every batch.

    python -m torch.distributed.run --nproc_per_node 2 -m leaplm.overfitting.data_parallel FOLDER

is what `train_in_processes` starts after it has written the task into the folder. The processes are on the CPU: there
are seldom two GPUs. On two GPUs or two machines the launcher is the same, and `training.train` is too.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from leaplm.locales import say

TASK, RESULT = "task.json", "process-{}.json"


def train_in_processes(rows, labels, config, folder, processes=2, freeze="embeddings", threads=1):
    """Train a MiniLM classifier over `labels` on tokenized `rows` in that many processes; what each process reports.

    config: a TrainingConfig; its batch_size is that of all processes together. threads: of each process.
    Returns a list of dicts, one a process: losses and gradient norms of the updates, seconds, peak_mb (how much the
    process grew during the training), and checksum, the sum of all weights.
    Raises ValueError without rows, and RuntimeError with the end of what the processes said if they fail.
    """
    if not rows:
        raise ValueError(say("there are no rows to train on"))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    task = {"rows": rows, "labels": labels, "config": asdict(config), "freeze": freeze}
    (folder / TASK).write_text(json.dumps(task), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m",
               "leaplm.overfitting.data_parallel", str(folder)]
    environment = {**os.environ, "LEAPLM_SCALE": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the {processes} processes failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return [json.loads((folder / RESULT.format(rank)).read_text(encoding="utf-8")) for rank in range(processes)]


def work(task):
    """One process's part of a task; the same in all of them but for the rows."""
    from leaplm.data import DynamicPaddingCollator
    from leaplm.models import load_sequence_classifier
    from leaplm.overfitting.regularization import set_dropout
    from leaplm.runtime import peak_memory_mb, set_seed
    from leaplm.training import TrainingConfig, train

    config = TrainingConfig(**task["config"])
    set_seed(config.seed)
    model = set_dropout(load_sequence_classifier(task["labels"], freeze=task["freeze"]), 0.0)
    before = peak_memory_mb()
    history = train(model, task["rows"], DynamicPaddingCollator(model.config.pad_token_id), config)
    return {"losses": [row["loss"] for row in history.train], "norms": [row["grad_norm"] for row in history.train],
            "seconds": history.seconds, "peak_mb": peak_memory_mb() - before,
            "checksum": float(sum(p.detach().double().sum() for p in model.parameters()))}


def main(folder):
    folder = Path(folder)
    result = work(json.loads((folder / TASK).read_text(encoding="utf-8")))
    (folder / RESULT.format(os.environ.get("RANK", "0"))).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
