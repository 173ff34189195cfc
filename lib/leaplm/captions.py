"""A figure in words, from its title, axes and data: for those who do not see it. It stands inside the picture itself.

A PNG may hold texts; the one called Description is what the book gives as the alternative text of a notebook's figure.
In the notebook it stands beside the picture, where nbconvert finds it, and JupyterLab with our extension (`labextension`).
"""

import re

import numpy as np

from leaplm.locales import say

KEY = "Description"  # PNG's own name for it
LONGEST = 700  # letters
LETTER = re.compile(r"[^\W\d_]")


def describe(figure):
    """One sentence for each part of a matplotlib figure: title, axes with their ends, names on them, legend, numbers.

    >>> from leaplm import plots
    >>> axes = plots.new_axes("Loss during training", "update", "loss")
    >>> _ = axes.plot([1, 9], [2.5, 0.5], label="training")
    >>> _ = axes.legend()
    >>> describe(axes.figure)
    'Loss during training: update 0.6 to 9.4; loss 0.4 to 2.6; training'
    """
    title = figure.get_suptitle()
    parts = [described for axes in figure.axes if (described := describe_axes(axes))]
    words = " · ".join([title, *parts] if title else parts)
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"


def describe_axes(axes):
    title = " ".join((axes.get_title() or axes.get_title("left")).split())
    ends = [axis_in_words(axes.xaxis, axes.get_xlim()), axis_in_words(axes.yaxis, axes.get_ylim())]
    legend = [text.get_text() for owner in (axes, axes.figure) for text in labels_of(owner)]
    numbers = [text.get_text().strip() for text in axes.texts]
    said = "; ".join(filter(None, [*ends, ", ".join(legend), ", ".join(filter(None, numbers))]))
    return f"{title}: {said}" if title else said


def axis_in_words(axis, ends):
    """Its label with the names on it, or else with its ends."""
    ticks = (tick.get_text() for tick in axis.get_ticklabels())
    names = [name for name in ticks if LETTER.search(name) and "$" not in name]
    label = axis.get_label_text()
    if names:
        return f"{label} {', '.join(names)}".strip()
    low, high = (f"{end:.3g}" for end in np.sort(ends))
    return say("{label} {low} to {high}", label=label, low=low, high=high) if label else ""


def labels_of(owner):
    """The texts of the legend of some axes, or of those of a figure."""
    legends = [owner.get_legend()] if hasattr(owner, "get_legend") else owner.legends
    return [text for legend in legends if legend for text in legend.get_texts()]
