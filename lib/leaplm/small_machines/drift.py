"""Has what comes in changed? A distance between two samples, an alarm with a chosen rate of false ones, and a stream."""

import numpy as np


def ks_distance(first, second):
    """The largest difference between the two samples' shares of numbers <= x, over all x; from 0 to 1.

    first (n,), second (m,). Numbers that are equal, within a sample or between them, count together (the two-sample
    statistic of Kolmogorov and Smirnov; the same as scipy.stats.ks_2samp's).

    >>> ks_distance([1, 2, 3, 4], [3, 4, 5, 6])
    0.5
    """
    first, second = np.sort(np.asarray(first, dtype=float)), np.sort(np.asarray(second, dtype=float))
    places = np.concatenate([first, second])
    shares = [np.searchsorted(some, places, side="right") / len(some) for some in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def alarm_level(reference, size, rate, rounds, seed):
    """The distance that a window of `size` usual texts exceeds with probability `rate`; a float.

    reference (n,): a number for each usual text. Each of `rounds` rounds draws `size` of them with replacement
    (numpy.random.default_rng(seed)) and takes the `ks_distance` to all; the level is the (1 - rate) quantile.

    >>> alarm_level([1.0, 1.0, 1.0], size=2, rate=0.05, rounds=10, seed=0)
    0.0
    """
    rng, (numbers, places) = np.random.default_rng(seed), np.unique(np.asarray(reference, dtype=float), return_inverse=True)
    usual = np.bincount(places).cumsum() / len(places)

    def distance():  # `ks_distance`, of which one side is always the same
        window = places[rng.integers(0, len(places), size)]
        return np.abs(np.bincount(window, minlength=len(numbers)).cumsum() / size - usual).max()

    return float(np.quantile([distance() for _ in range(rounds)], 1 - rate))


def population_stability(reference, recent, parts=10, least=1e-3):
    """The population stability index of `recent` against `reference`, in nats; 0 for equal shares.

    The reference is cut into `parts` parts of equal size; sum of (p - q) ln(p / q) over the parts, with shares of at least
    `least`. Banks use it with fixed limits (0.1, 0.25) that do not depend on the size of the window, so how often they give
    a false alarm is not known beforehand.

    >>> population_stability(range(100), range(100))
    0.0
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, parts + 1)[1:-1]))
    counts = [np.bincount(np.searchsorted(edges, some, side="right"), minlength=len(edges) + 1)
              for some in (np.asarray(reference), np.asarray(recent))]
    p, q = (np.maximum(count / count.sum(), least) for count in counts)
    return float(((p - q) * np.log(p / q)).sum())


def load_new_kind(language):
    """Texts of another kind, as a DatasetDict: what may one day come in where `language` was usual.

    English film reviews give way to tweets, tweets of another language of AfriSenti to those in Nigerian Pidgin
    (these to Hausa): they have the same classes. To a file of one's own come English film reviews, whose classes are
    others as a rule.
    """
    from leaplm import data

    if language == "eng":
        return data.load_sentiment("eng", "tweets")
    if language in data.AFRISENTI:
        return data.load_sentiment("hau" if language == "pcm" else "pcm")
    return data.load_sentiment("eng")


def mixed_stream(usual, new, shares, size, seed):
    """Windows of texts, a list of lists of (kind, row): each of `size` rows, a share of them of the new kind.

    usual, new: how many rows there are of each kind; a row is drawn once while there are enough. shares: of the new kind,
    one a window. Example: shares [0, 0, 0.2, 0.4] are four weeks of which the last two have new texts.
    """
    rng = np.random.default_rng(seed)
    fresh = {kind: [] for kind in ("usual", "new")}
    windows = []
    for share in shares:
        kinds = np.where(np.arange(size) < round(share * size), "new", "usual")
        window = []
        for kind in rng.permutation(kinds):
            if not fresh[kind]:
                fresh[kind] = rng.permutation(new if kind == "new" else usual).tolist()
            window.append((str(kind), fresh[kind].pop()))
        windows.append(window)
    return windows
