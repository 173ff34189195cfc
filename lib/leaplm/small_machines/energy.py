"""What 1,000 answers cost in energy and money, from seconds and watts; the processor's own meter where it can be read."""

from pathlib import Path

import numpy as np

POWERCAP = Path("/sys/class/powercap")
# Watts of a machine that computes, low and high. They are assumptions, not measurements: put in what your meter shows.
WATTS = {"phone": (2, 4), "Raspberry Pi 5": (6, 10), "laptop": (15, 35), "desktop": (60, 120),
         "server with a GPU": (300, 700)}


def cost_per_thousand(seconds, watts, price):
    """{"watt-hours", "money"} of 1,000 answers: each a pair (low, high).

    seconds (n,): measured times of single answers; their mean's 95 % bootstrap interval gives the spread. watts: (low, high)
    of the machine while it computes. price: of a kilowatt-hour. Low is the low end of both, high the high end.

    >>> cost_per_thousand([0.36, 0.36], (10, 20), price=0.5)
    {'watt-hours': (1.0, 2.0), 'money': (0.0005, 0.001)}
    """
    seconds = np.asarray(seconds, dtype=float)
    means = seconds[np.random.default_rng(0).integers(0, len(seconds), (1000, len(seconds)))].mean(axis=1)
    ends = np.quantile(means, [0.025, 0.975]) * np.asarray(watts) * 1000 / 3600
    hours = tuple(float(round(end, 9)) for end in ends)
    return {"watt-hours": hours, "money": tuple(round(end / 1000 * price, 12) for end in hours)}


def read_meter(folder=POWERCAP):
    """Joules that the processor's packages have used since some moment (Intel's and AMD's RAPL); None where unreadable.

    Two readings, before and after, give the energy between them. On many systems only the administrator may read it, and
    virtual machines and ARM have none.
    """
    try:
        files = sorted(Path(folder).glob("intel-rapl:[0-9]/energy_uj"))
        return sum(int(file.read_text(encoding="ascii")) for file in files) / 1e6 if files else None
    except (OSError, ValueError):
        return None


def joules_of(call, folder=POWERCAP):
    """(what `call()` returns, joules that the whole processor used meanwhile or None)."""
    before = read_meter(folder)
    result = call()
    after = read_meter(folder)
    # The meter starts again at 0 every few minutes or hours.
    return result, after - before if before is not None and after is not None and after >= before else None
