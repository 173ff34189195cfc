"""The learner alone, without a teacher: marks and hints in the notebook, progress, a certificate, one zip to hand in.

    %load_ext leaplm.learner        # the first cell of each lab: marks below each check from then on

* releases     the labs' exercises, checks and banks as they are on this machine
* marks        the real check of an exercise, run on the notebook's own functions within two seconds
* undisturbed  the notebook's state, put back after a mark
* hints        the likely mistake, then where to look, then what was asked; never a solution
* notebook     what of this a notebook sees: events of its cells
* panel        a mark as HTML and as text, a model among our runs as a picture
* progress     what is done, in one file beside the notebooks
* certificate  all labs marked again in the sandbox, on one page that anyone can verify
* handed       the notebook and its artifacts as one zip
* carry        all labs as one zip, and back, where a computer forgets
* words        the sentences, in the learner's language

What a notebook says about itself is never a mark: the grader (`leaplm.grading`) does not read any of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["bring_back", "hand_in", "load_ipython_extension", "mark", "show_progress", "take_home",
           "unload_ipython_extension"]  # fmt: skip
MOST_IN_A_FIELD = 400  # characters that a table shows of a text; pandas cuts at 50, before what is to be compared


def load_ipython_extension(shell: Any) -> None:
    """Marks below each check from now on, where a person works in a notebook; elsewhere nothing."""
    graders = type(shell).__module__.startswith("leaplm.")  # a notebook's shell in all else
    if graders or not hasattr(shell, "kernel"):
        return
    from leaplm.runtime import expect_modules

    expect_modules()  # the lab's, in this cell and the next
    import pandas as pd

    from leaplm.learner import notebook, tables

    pd.set_option("display.max_colwidth", MOST_IN_A_FIELD)
    tables.begin(shell)
    notebook.begin(shell)


def unload_ipython_extension(shell: Any) -> None:
    from leaplm.learner import notebook, tables

    tables.end(shell)
    notebook.end(shell)


def mark(name: str, seconds: float = 60) -> None:
    """Shows the mark of one check again, with more time.

    name: of the check, as `collate`; where several labs have it, `lab2_finetuning.collate`. KeyError if there is none.
    """
    from IPython import get_ipython

    from leaplm.learner import notebook

    if not notebook.has_begun() and get_ipython():  # after a restart
        load_ipython_extension(get_ipython())
    notebook.mark_again(name, seconds)


def show_progress() -> None:
    """Shows what is done in all labs."""
    from leaplm.learner import notebook

    notebook.show_progress()


def hand_in(name: str, lab: str = "", to: str | Path | None = None) -> None:
    """Writes NAME-lab2.zip, for a teacher or to keep, says what is missing in it, and offers it for download.

    lab: by default the one that this notebook is; to: a folder, for example on a mounted Drive.
    """
    from leaplm.learner import notebook

    notebook.hand_in(name, lab, to)


def take_home() -> None:
    """Writes leaplm-work.zip with all labs that are begun, their artifacts and the progress, and offers it for download.

    ValueError where no lab is begun.
    """
    from leaplm.learner import carry, notebook

    notebook.offer(carry.take_home(tell=notebook.tell))


def bring_back(file: str | Path) -> None:
    """Unpacks a leaplm-work.zip that was uploaded; what is here and was worked on is kept beside it.

    ValueError, and nothing changed, if it is no such zip or not whole.
    """
    from leaplm.learner import carry, notebook
    from leaplm.locales import say

    if carry.run_bring_back(Path(file), Path("."), notebook.tell):
        raise ValueError(say("{file} was not unpacked", file=file))
