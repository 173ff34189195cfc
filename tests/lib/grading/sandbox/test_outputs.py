"""The shell of a graded notebook: cells as in a kernel, outputs as nbformat has them."""

import json
import subprocess
import sys

import pytest

RUN = """
import json, os, sys
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
from leaplm.grading.sandbox.outputs import Outputs, make_shell
for line in sys.stdin:
    source, most = json.loads(line)
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        shell, outputs = make_shell(), Outputs(most)
        with outputs.captured(shell):
            result = shell.run_cell(source, store_history=True)
        print(json.dumps([result.success, outputs.items]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def forks():
    """A process that forks one for each cell, as the fork server does."""
    with subprocess.Popen([sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(forks):
    """run(source) gives (success, outputs) of one cell, in a process of its own."""

    def in_fork(source, most=100_000):
        forks.stdin.write(json.dumps([source, most]) + "\n")
        forks.stdin.flush()
        return json.loads(forks.stdout.readline())

    return in_fork


@pytest.mark.parametrize(("source", "kinds"), [
    ("print('a')\nprint('b')", ["stream"]),
    ("6 * 7", ["execute_result"]),
    ("6 * 7;", []),
    ("import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c')", ["stream", "stream", "stream"]),
    ("from IPython.display import HTML, display\ndisplay(HTML('<b>x</b>'))", ["display_data"]),
    ("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", ["display_data"]),
    ("%matplotlib inline\nhere = %pwd\n!echo hi\nlines = !echo a; echo b\nlines", ["stream", "execute_result"]),
    ("%%bash\necho yo", ["stream"]),
    ("1 / 0", ["error"]),
    ("def f(:", ["error"]),
    ("input('?')", ["stream", "error"]),
])  # fmt: skip
def test_outputs_of_a_cell(run, source, kinds):
    success, items = run(source)
    assert [item["output_type"] for item in items] == kinds
    assert success == ("error" not in kinds)


def test_a_figure_is_a_picture(run):
    _, (shown,) = run("import matplotlib.pyplot as plt\nplt.plot([1, 2]);")
    assert shown["data"]["image/png"].startswith("iVBOR")


def test_of_metadata_only_the_words_of_a_picture_stay(run):
    _, (shown,) = run("from leaplm import plots\nplots.new_axes('Loss', 'update', 'loss');")
    assert shown["metadata"] == {"image/png": {"alt": "Loss: update 0 to 1; loss 0 to 1"}}
    told = "from IPython.display import display\ndisplay({'image/png': 'iVBOR', 'text/plain': 'x'}, raw=True, metadata="
    for metadata, kept in (("{'image/png': {'alt': 'y' * 5000, 'width': 9}, 'x': 1}", {"image/png": {"alt": "y" * 1000}}),
                           ("{'image/png': {'alt': [1]}, 'text/plain': {'alt': 'z'}}", {}), ("{'image/png': 'w'}", {})):
        _, (shown,) = run(f"{told}{metadata})")
        assert shown["metadata"] == kept


def test_outputs_are_cut_at_their_limit(run):
    _, items = run("for _ in range(1000):\n    print('x' * 1000)", most=5000)
    assert sum(len(item["text"]) for item in items) < 5100 and "more output is left out" in items[0]["text"]
