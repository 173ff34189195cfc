"""A notebook run in a fork of this process: what is imported here need not be imported again, which saves half the time.

The shell is the grader's, with what a kernel has (magics, display, await at top level); test_colab has a real kernel too.
As a program it does the same for another Python: each line of its input is the JSON of a notebook's path, a folder and an
environment, and each line of its output what went wrong, or null.
"""

import contextlib
import gc
import json
import multiprocessing
import os
import sys
import traceback

# What the labs import, and what libraries import at their first use: once here, for all forks.
import datasets.packaged_modules  # noqa: F401
import IPython.core.completer  # noqa: F401
import leaplm.grading.judge.probes  # noqa: F401
import matplotlib
import matplotlib.pyplot
import nbformat
import pandas  # noqa: F401
import peft  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.feature_extraction.text  # noqa: F401
import sklearn.linear_model  # noqa: F401
import torch._dynamo
import transformers  # noqa: F401
from leaplm.grading.sandbox.outputs import Outputs, make_shell

with contextlib.suppress(ImportError):  # another version has no such table
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("bert")  # a second's work, at the first model that is read

MOST_BYTES = 1_000_000  # of a cell's outputs
FORKS = multiprocessing.get_context("fork")


def run_notebook(notebook, folder, environment, seconds=600, look=None):
    """Run the code cells of a notebook in `folder`; AssertionError with cell and traceback where one fails.

    look: a function that finds a fault in a cell's outputs, as nbformat has them; None where there is none.
    """
    said, heard = FORKS.Pipe()
    child = FORKS.Process(target=run_cells, args=(notebook, folder, environment, heard, look))
    child.start()
    heard.close()
    try:
        fault = said.recv() if said.poll(seconds) else f"no end within {seconds} s"
    except EOFError:
        child.join()
        fault = f"the process ended with code {child.exitcode}"
    finally:
        child.kill()
        child.join()
    assert fault is None, fault


def run_cells(notebook, folder, environment, pipe, look=None):
    gc.freeze()  # what stands in this process needs no look by its fork's collector
    try:
        os.chdir(folder)
        os.environ.update(environment)
        matplotlib.use("Agg")
        torch.set_num_threads(1)  # OpenMP's threads do not live on in a fork
        shell = make_shell()
        pipe.send(next((fault for cell in notebook.cells if (fault := run_cell(shell, cell, look))), None))
    except BaseException:
        pipe.send(traceback.format_exc())
        raise


def run_cell(shell, cell, look=None):
    """What went wrong in a cell, in words; nothing if all went well."""
    if cell.cell_type != "code":
        return None
    outputs = Outputs(MOST_BYTES)
    with outputs.captured(shell):
        result = shell.run_cell(cell.source, store_history=True)
    if result.success:
        fault = look(outputs.items) if look else None
        return fault and f"the cell\n{cell.source}\nshows {fault}"
    told = "\n".join("\n".join(item["traceback"]) for item in outputs.items if item["output_type"] == "error")
    return f"the cell\n{cell.source}\nfailed: {told or result.error_in_exec}"


def serve():
    answers, sys.stdout = sys.stdout, sys.stderr  # what is printed here must not stand among the answers
    for line in sys.stdin:
        path, folder, environment = json.loads(line)
        try:
            run_notebook(nbformat.read(path, as_version=4), folder, environment)
            fault = None
        except AssertionError as problem:
            fault = str(problem)
        print(json.dumps(fault), file=answers, flush=True)


if __name__ == "__main__":
    serve()
