"""Gaps between groups of people as numbers with intervals: languages, spellings, names and places.

Sources: Efron & Tibshirani, 1993, chapter 13 (bootstrap); Berg-Kirkpatrick et al., 2012 (paired tests in language
processing); Kiritchenko & Mohammad, 2018, *Examining gender and race bias in two hundred sentiment analysis systems*.
"""

import unicodedata

import numpy as np

HOOKED = str.maketrans("ɓɗƙƴɛɔŋƁƊƘƳƐƆŊđĐ", "bdkyeonBDKYEONdD")  # letters that do not come apart into letter and mark
SIGNATURES = {"London": "Emily, London", "Kano": "Amina, Kano", "Lagos": "Chinwe, Lagos", "Kisumu": "Otieno, Kisumu",
              "Dhaka": "Farhana, Dhaka", "Cusco": "Quispe, Cusco"}


def paired_interval(first, second, resamples=None, level=0.95, rounds=2000, seed=0):
    """The mean difference first - second over the same texts, with its percentile interval: (difference, low, high).

    first, second (n,): a score of each text (right or wrong as 1 or 0, a probability, ...) under two conditions. Texts are
    drawn with replacement, and both scores of a text stay together: what makes a text hard for both cancels out.
    resamples (rounds, n): row numbers of each draw; made from `seed` if not given. (It speaks of other texts; of other
    training seeds speaks `evaluation.paired_difference`.)

    >>> paired_interval([1, 1, 0, 1], [0, 1, 0, 1], [[0, 0, 1, 1], [2, 3, 3, 2]], level=0.5)
    (0.25, 0.125, 0.375)
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"scores {first.shape} and {second.shape} must be equally long lists, not empty: one pair a text")
    differences = first - second
    if resamples is None:
        resamples = np.random.default_rng(seed).integers(0, len(first), (rounds, len(first)))
    means, tail = differences[np.asarray(resamples)].mean(axis=1), (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(differences.mean()), float(low), float(high)


def without_marks(text):
    """The text as many people type it: without tone marks and dots, and with plain letters for ɓ, ɗ, ƙ and their like.

    >>> without_marks("Ọjọ́ dára, ɗan uwa")
    'Ojo dara, dan uwa'
    """
    apart = unicodedata.normalize("NFD", text)
    plain = "".join(letter for letter in apart if not is_accent(letter))
    return unicodedata.normalize("NFC", plain).translate(HOOKED)


def is_accent(mark):
    """Whether people leave this mark out when they type: accents, tones, Arabic vowels; not the vowel signs of Hindi.

    >>> is_accent("\\u0301"), is_accent("\\u094d")
    (True, False)
    """
    return 10 <= (place := unicodedata.combining(mark)) <= 36 or place >= 200  # Unicode's canonical combining classes


def typed_in_haste(text, share=0.2, seed=0):
    """The text with two neighbouring letters swapped in a share of its words of four letters or more.

    The words depend on the seed and the text alone. First and last letters stay where they are.
    """
    rng, words = np.random.default_rng([seed, len(text)]), text.split()
    for i, word in enumerate(words):
        if len(word) >= 4 and rng.random() < share:
            place = int(rng.integers(1, len(word) - 2))
            words[i] = word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return " ".join(words)


def signed(text, place, town=None):
    """The text with a name and a town below it, as people sign messages.

    place: whose name, a key of SIGNATURES. town: another town than the name's, also a key: only if one of them changes
    alone can a difference be laid to it.

    >>> signed("Good.", "Kano"), signed("Good.", "Kano", town="London")
    ('Good. - Amina, Kano', 'Good. - Amina, London')
    """
    name, town = SIGNATURES[place].split(", ")[0], SIGNATURES[town or place].split(", ")[1]
    return f"{text.rstrip()} - {name}, {town}"
