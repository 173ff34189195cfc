"""The course's figures. Each takes results, draws one idea, and returns the matplotlib Axes."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from leaplm.fonts import ScriptFigure, name_rows_by_data
from leaplm.locales import say_drawn

# Okabe & Ito's colours: told apart by colour-blind readers. In grey print two of them are alike, so each series also has a
# marker, a kind of line or a hatch of its own.
BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#777777", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
HATCHES = ("", "//", "..", "\\\\", "xx")


def new_figure(rows=1, columns=1, **settings):
    """(figure, axes) as `plt.subplots` gives them, for letters of every script."""
    return plt.subplots(rows, columns, FigureClass=ScriptFigure, dpi=90, layout="constrained", **settings)


def ink(color):
    """Black or white, what can be read better on a colour: its contrast is at least 4.58, above the 4.5 of WCAG's level AA.

    >>> ink("#08306b"), ink("#6aaed6")
    ('white', 'black')
    """
    parts = np.array(to_rgb(color))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return "white" if linear @ (0.2126, 0.7152, 0.0722) < 0.179 else "black"


def new_axes(title, xlabel, ylabel, width=6.4, height=3.6):
    """One figure with one Axes, thin grid, no frame."""
    _, axes = new_figure(figsize=(width, height))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, loc="left", fontsize=11, wrap=True)  # in some languages it is longer than the figure is wide
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def plot_padding(lengths, batch_size=16, max_length=128, batches=3):
    """The first batches as the model sees them, padded in three ways: blue is text, light is padding.

    lengths: tokens of each text, in the order of the data. The title of each part gives its share of padding.
    """
    lengths = np.minimum(np.asarray(lengths), max_length)
    rng = np.random.default_rng(0)
    bucketed = np.sort(lengths)[: len(lengths) // batch_size * batch_size].reshape(-1, batch_size)
    plain = lengths[: batches * batch_size].reshape(-1, batch_size)
    ways = {"to 128 tokens": (plain, np.full(len(plain), max_length)),
            "to the longest of the batch": (plain, plain.max(axis=1)),
            "and similar lengths together": (some := bucketed[rng.permutation(len(bucketed))[:batches]], some.max(axis=1))}
    _, parts = new_figure(1, 3, figsize=(9, 3), sharey=True, sharex=True)
    for axes, (title, (groups, widths)) in zip(parts, ways.items(), strict=True):
        rows, width = groups.reshape(-1), np.repeat(widths, batch_size)
        axes.barh(range(len(rows)), width, color=BLUE, alpha=0.15, height=1)
        axes.barh(range(len(rows)), rows, color=BLUE, alpha=0.8, height=1)
        share = 1 - rows.sum() / width.sum()
        axes.set_title(f"{say_drawn(title)}\n{share:.0%} {say_drawn('padding')}", loc="left", fontsize=10)
        axes.set(xlabel="tokens", ylim=(len(rows) - 0.5, -0.5))
        axes.spines[["top", "right"]].set_visible(False)
    parts[0].set_ylabel("texts (3 batches of 16)")
    return parts[0]


def plot_history(history, window=10, unit="text", baseline=None, title="Loss during training"):
    """Training loss of each update (thin), its running mean (thick), and the validation loss (points).

    unit: what the loss is a mean over. baseline: (label, loss) of a dashed line.
    """
    axes = new_axes(title, "update", f"loss (nats per {unit})")
    if baseline:
        axes.axhline(baseline[1], color=GREY, linestyle="--", label=baseline[0])
    steps = [row["step"] for row in history.train]
    losses = np.array([row["loss"] for row in history.train])
    axes.plot(steps, losses, color=BLUE, alpha=0.25, linewidth=1)
    width = min(window, len(losses))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    axes.plot(steps[width - 1 :], smooth, color=BLUE, label=f"training (mean of {width})")
    if history.validation:
        axes.plot([row["step"] for row in history.validation], [row["loss"] for row in history.validation],
                  "o-", color=ORANGE, label="validation")
    axes.legend(frameon=False)
    return axes


def draw_spread(axes, summary, x, label, color, marker="o", band=True, shift=None, line="-"):
    """Mean (line and markers) with one standard deviation over seeds on each side: a band, or bars.

    shift: a function that moves the positions a little, so that the bars of several lines stand side by side.
    """
    positions, mean, sd = summary[x], summary["mean"], summary["sd"].fillna(0)
    positions = shift(positions) if shift else positions
    axes.plot(positions, mean, marker=marker, color=color, linestyle=line, label=with_seeds(label, summary))
    if len(summary) > 1 and band:
        axes.fill_between(positions, mean - sd, mean + sd, color=color, alpha=0.18, linewidth=0)
    else:
        axes.errorbar(positions, mean, sd, color=color, capsize=2, elinewidth=1, linestyle="none")


SPREAD = "± one standard deviation over seeds"  # what the bands and lines of all figures of seeds are
TEXTS_TOO = "thin line: 95 % interval for other seeds and other test texts"


def draw_live(axes, x, y, label="your run"):
    axes.plot([x], [y], marker="*", markersize=15, color=RED, markeredgecolor="white", linestyle="none", label=label,
              zorder=5)


def plot_lines(summaries, x, title, xlabel, ylabel="accuracy", live=None, log=True, flat=None):
    """Curves with spread over seeds, and your own run on top; the legend stands beside them.

    summaries: {label: DataFrame with columns x, mean, sd, seeds}; up to three have bands, more have bars side by side, since
    five bands on each other cannot be read. live: (x, y) of your run, or None. flat: {label: scores (n,)} of what does not
    depend on x: a broken line at their mean, with its deviation.
    """
    axes = new_axes(title, xlabel, ylabel, width=8.5)
    for (label, scores), style in zip((flat or {}).items(), ("--", ":", "-."), strict=False):
        mean, sd = np.mean(scores), np.std(scores, ddof=1)
        axes.axhline(mean, color=GREY, linestyle=style, label=label)
        axes.axhspan(mean - sd, mean + sd, color=GREY, alpha=0.15, linewidth=0)
    colors, crowded = (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY), len(summaries) > 3
    width = max(float(np.ptp(summary[x])) for summary in summaries.values())
    for i, ((label, summary), color, marker) in enumerate(zip(summaries.items(), colors, "os^Dvp", strict=False)):
        aside = i - (len(summaries) - 1) / 2

        def shift(positions, aside=aside):
            return positions * 1.035**aside if log else positions + 0.008 * width * aside

        draw_spread(axes, summary, x, label, color, marker, not crowded, shift if crowded else None, LINES[i % len(LINES)])
    if live is not None:
        draw_live(axes, *live)
    if log:
        axes.set_xscale("log")
        ticks = sorted({value for summary in summaries.values() for value in summary[x]})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1),
                title=f"bars: {SPREAD}" if crowded else f"bands: {SPREAD}", title_fontsize=8, alignment="left")
    return axes


def plot_promises(shares, limits, title="What any attack finds at most", at=0.05):
    """Members found at most, against the share of others that are falsely accused; the diagonal is blind guessing.

    shares (n,): false alarms; limits: {label: (n,) largest shares of members found}. at: a share of false alarms to mark.
    """
    axes = new_axes(title, "false alarms (share of the others)", "members found (share)", width=7.2, height=4.2)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="blind guessing")
    for (label, found), color, line in zip(limits.items(), (BLUE, ORANGE, GREEN, PURPLE), LINES, strict=False):
        axes.plot(shares, found, color=color, linestyle=line, linewidth=2, label=label)
        axes.plot([at], [np.interp(at, shares, found)], "o", color=color)
    axes.axvline(at, color=GREY, linestyle=":", linewidth=1)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return axes


def plot_bars(rows, title, xlabel="accuracy", live=None, start=0.0):
    """One bar a row with its standard deviation; `live` = {name: value} puts stars on some of them.

    rows: DataFrame with the columns mean and sd; its first column names the bars. Its column half, if there is one, draws a
    thin line from mean - half to mean + half. A star whose name has no bar gets a row of its own.
    """
    names = rows.iloc[:, 0].astype(str).tolist()
    names += [name for name in live or {} if name not in names]
    seeds = f"mean {SPREAD} ({say_drawn(seeds_of(rows))})" if "seeds" in rows and rows["seeds"].max() > 1 else None
    axes = new_axes(title, xlabel, "", height=0.8 + 0.42 * len(names))
    places = np.arange(len(names))[::-1]
    axes.barh(places[: len(rows)], rows["mean"], xerr=rows["sd"].fillna(0), color=BLUE, alpha=0.75, height=0.6,
              error_kw={"elinewidth": 1.5, "capsize": 3}, label=seeds)
    if "half" in rows:
        axes.errorbar(rows["mean"], places[: len(rows)], xerr=rows["half"], fmt="none", ecolor="black", elinewidth=0.6,
                      label=say_drawn(TEXTS_TOO))
    longest = rows["mean"].max() - start
    for place, mean in zip(places[: len(rows)], rows["mean"], strict=True):
        fits = mean - start > 0.12 * longest
        axes.annotate(f" {mean:.2f}", (start if fits else mean, place), va="center", fontsize=9, color="black")
    for name, value in (live or {}).items():
        draw_live(axes, value, places[names.index(name)])
    axes.set_yticks(places, names)
    axes.set_xlim(left=start)
    axes.grid(axis="y", visible=False)
    handles, labels = axes.get_legend_handles_labels()
    first = {label: handle for handle, label in list(zip(handles, labels, strict=True))[::-1]}  # one star for all of them
    # Below the axes: a star of the legend that lay among the bars was read as a result.
    if first:
        axes.figure.legend(first.values(), first, frameon=False, fontsize=8, ncols=1 if "half" in rows else 2,
                           loc="outside lower left")
    return axes


def seeds_of(rows):
    """"5 seeds", or "3 to 5 seeds" where the rows have different numbers of them."""
    least, most = int(rows["seeds"].min()), int(rows["seeds"].max())
    return "1 seed" if most == 1 else f"{most} seeds" if least == most else f"{least} to {most} seeds"


def with_seeds(label, rows):
    """A label with the number of its seeds: "LoRA (5 seeds)"."""
    return f"{say_drawn(label)} ({say_drawn(seeds_of(rows))})"


def plot_dots(summaries, title, xlabel="accuracy", guide=None, live=None):
    """Several measures of the same things: one row each, one marker a measure, with its standard deviation.

    summaries: {measure: DataFrame whose first column names the rows, with mean, sd and seeds}, all with the same rows.
    guide: (label, value) of a dashed line, such as chance. live = {name: value} puts stars on rows. For losses too: dots
    need not begin at 0, where bars would hide small differences.
    """
    first = next(iter(summaries.values()))
    names = first.iloc[:, 0].astype(str).tolist()
    axes = new_axes(title, xlabel, "", width=8.5, height=1.2 + 0.36 * len(names))
    places = np.arange(len(names))[::-1]
    if guide:
        axes.axvline(guide[1], color=GREY, linestyle="--", linewidth=1, label=guide[0])
    shifts = np.linspace(0.2, -0.2, len(summaries)) if len(summaries) > 1 else [0.0]
    styles = zip(shifts, (BLUE, ORANGE, GREEN, RED), "osD^", strict=False)
    for (label, rows), (shift, color, marker) in zip(summaries.items(), styles, strict=True):
        axes.errorbar(rows["mean"], places + shift, xerr=rows["sd"].fillna(0), fmt=marker, color=color, capsize=2,
                      elinewidth=1.2, markersize=5, label=with_seeds(label, rows))
    for number, (name, value) in enumerate((live or {}).items()):
        draw_live(axes, value, places[names.index(name)], None if number else "your run")
    axes.set_yticks(places, names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0), title=f"lines: {SPREAD}",
                title_fontsize=8, alignment="left")
    return axes


def plot_intervals(rows, title, xlabel, guide=("no difference", 0.0)):
    """One point a row with its interval; the index names the rows. A dashed line stands at `guide` (label, value).

    rows: DataFrame with the columns mean, low and high. Rows whose interval holds the guide's value are grey.
    """
    axes = new_axes(title, xlabel, "", width=7.2, height=1.0 + 0.36 * len(rows))
    axes.axvline(guide[1], color=GREY, linestyle="--", linewidth=1, label=guide[0])
    for place, (_, row) in zip(range(len(rows))[::-1], rows.iterrows(), strict=True):
        sure = not row["low"] <= guide[1] <= row["high"]
        axes.errorbar(row["mean"], place, xerr=[[row["mean"] - row["low"]], [row["high"] - row["mean"]]], fmt="o",
                      color=BLUE if sure else GREY, capsize=3, elinewidth=1.5)
    axes.set_yticks(range(len(rows))[::-1], rows.index)
    axes.legend(frameon=False, fontsize=9)
    return axes


def plot_confusion(labels, predictions, names):
    """Rows: the true class; columns: the predicted class; each cell the number of texts."""
    counts = np.zeros((len(names), len(names)), dtype=int)
    np.add.at(counts, (np.asarray(labels), np.asarray(predictions)), 1)
    axes = new_axes("Confusion matrix (number of texts)", "predicted", "true", width=4.2)
    image = axes.imshow(counts, cmap="Blues")
    axes.grid(visible=False)
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            axes.text(j, i, count, ha="center", va="center", color=ink(image.to_rgba(count)))
    for axis in (axes.xaxis, axes.yaxis):
        name_rows_by_data(axis, names)
    if len(names) * max(map(len, names)) > 40:  # side by side they would lie on each other
        axes.tick_params(axis="x", rotation=90)
    return axes


def plot_matrices(matrices, names, title):
    """One heat map a method, side by side: row = after training on this task, column = accuracy on that task.

    matrices: {method: array (tasks, tasks)} of numbers from 0 to 1; names: the tasks.
    """
    columns = min(4, len(matrices))
    rows = -(-len(matrices) // columns)
    long = max(map(len, names)) > 8  # such names would lie on each other
    width, height = (3.7, 3.2) if long else (3.1, 2.6)
    figure, parts = new_figure(rows, columns, figsize=(width * columns, 0.5 + height * rows), squeeze=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    for axes in parts.flat[len(matrices) :]:
        axes.axis("off")
    for axes, (method, matrix) in zip(parts.flat, matrices.items(), strict=False):
        image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(np.asarray(matrix)):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink(image.to_rgba(value)))
        axes.set_title(method, fontsize=10)
        axes.set_xticks(range(len(names)), names, rotation=30 if long else 0, ha="right" if long else "center")
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel="tested on", ylabel="after training on")
    return parts[0, 0]


def plot_tradeoff(rows, x, title, xlabel, ylabel="accuracy", live=None):
    """One point a row, named by the index: the value of column `x` (log scale) against the mean, with its deviation.

    rows: DataFrame with the columns x, mean and sd. live: (x, y) of your run, or None.
    """
    axes = new_axes(title, xlabel, ylabel, width=7.2, height=4.2)
    axes.errorbar(rows[x], rows["mean"], yerr=rows["sd"].fillna(0), fmt="o", color=BLUE, capsize=3, elinewidth=1.5)
    rows = rows.sort_values(x)
    places = np.log(rows[x].to_numpy())
    crowded = np.diff(places, append=np.inf) < np.diff(places, prepend=-np.inf)  # the nearest neighbour is to the right
    for (name, row), left in zip(rows.iterrows(), crowded, strict=True):
        axes.annotate(name, (row[x], row["mean"]), xytext=(-6 if left else 6, 6), textcoords="offset points", fontsize=9,
                      ha="right" if left else "left", va="center")
    if live is not None:
        draw_live(axes, *live)
        axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.15)
    return axes


def plot_stacks(rows, title, xlabel):
    """One bar a row, made of its columns in turn; the index names the bars."""
    axes = new_axes(title, xlabel, "", height=1.0 + 0.42 * len(rows))
    places, left = np.arange(len(rows))[::-1], np.zeros(len(rows))
    for column, color, hatch in zip(rows.columns, (GREY, ORANGE, RED, BLUE, GREEN), HATCHES, strict=False):
        axes.barh(places, rows[column], left=left, color=color, height=0.6, label=column, hatch=hatch, edgecolor="white")
        left = left + rows[column].to_numpy()
    axes.set_yticks(places, rows.index)
    axes.grid(axis="y", visible=False)
    axes.legend(frameon=False, fontsize=9, ncols=len(rows.columns), loc="lower center", bbox_to_anchor=(0.5, 1.08))
    return axes


def plot_load(rows, title="A service under load"):
    """Waiting time of accepted requests (left) and the share turned away (right) against the load.

    rows: DataFrame whose index is the load in times the capacity, with p50_ms, p95_ms, shed and requests (serve.load).
    """
    axes = new_axes(title, "requests offered, in times the capacity", "waiting time of accepted ones (ms)", width=7.2)
    axes.plot(rows.index, rows.p50_ms, "o-", color=BLUE, label="p50")
    axes.plot(rows.index, rows.p95_ms, "s-", color=ORANGE, label="p95")
    axes.set_ylim(bottom=0)
    axes.axvline(1, color=GREY, linestyle=":", linewidth=1)
    right = axes.twinx()
    right.plot(rows.index, 100 * rows.shed / rows.requests, "^--", color=GREY, label="turned away (right)")
    right.set(ylabel="requests turned away (%)", ylim=(0, 100))
    right.spines["top"].set_visible(False)
    (lines, names), (more, others) = axes.get_legend_handles_labels(), right.get_legend_handles_labels()
    axes.legend(lines + more, names + others, frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.12, 1))
    return axes
