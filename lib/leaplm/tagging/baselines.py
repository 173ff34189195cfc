"""What a tagger must beat: a list of names, a rule on capital letters, and a linear model on features of words."""

import numpy as np
from sklearn.feature_extraction import FeatureHasher
from sklearn.linear_model import LogisticRegression

from leaplm.tagging.decoding import best_tags
from leaplm.tagging.entities import find_entities

BUCKETS = 2**14  # of the hashed features
NEVER = -30.0  # the score of a tag that training never showed
DAYS_AND_MONTHS = frozenset("""
monday tuesday wednesday thursday friday saturday sunday
january february march april may june july august september october november december
jumatatu jumanne jumatano alhamisi ijumaa jumamosi jumapili
januari februari machi aprili mei juni julai agosti septemba oktoba novemba desemba
litinin talata laraba alhamis juma'a asabar lahadi
janairu fabrairu maris afrilu mayu yuni yuli agusta satumba nuwamba disamba
""".split())  # noqa: SIM905 (a list of 60 strings is harder to read)


def make_gazetteer(train):
    """{words in lower case (a tuple): type} of the entities in train, a list of (words, tags); the most frequent type.

    >>> make_gazetteer([(["In", "Kano"], ["O", "B-LOC"])])
    {('kano',): 'LOC'}
    """
    counts = {}
    for words, tags in train:
        for kind, start, end in find_entities(tags):
            name = tuple(word.lower() for word in words[start:end])
            counts.setdefault(name, []).append(kind)
    return {name: max(sorted(set(kinds)), key=kinds.count) for name, kinds in counts.items()}


def gazetteer_tags(words, gazetteer):
    """Tags of a sentence: from left to right, at each place the longest name of the list that stands there.

    >>> gazetteer_tags(["In", "Dar", "es", "Salaam"], {("dar", "es", "salaam"): "LOC", ("dar",): "PER"})
    ['O', 'B-LOC', 'I-LOC', 'I-LOC']
    """
    small, tags, i = [word.lower() for word in words], ["O"] * len(words), 0
    longest = max(map(len, gazetteer), default=0)
    while i < len(words):
        size = next((n for n in range(min(longest, len(words) - i), 0, -1) if tuple(small[i : i + n]) in gazetteer), 0)
        if size:
            kind = gazetteer[tuple(small[i : i + size])]
            tags[i : i + size] = ["B-" + kind] + ["I-" + kind] * (size - 1)
        i += max(1, size)
    return tags


def capital_tags(words):
    """The best rule of thumb that we found: runs of capitalised words, days, months and years; no training.

    A run of two or more is a person, a single word a place, and one in capitals alone an organisation; the first word
    of a sentence counts only in a run.
    """
    tags, i = ["O"] * len(words), 0
    while i < len(words):
        if words[i].lower() in DAYS_AND_MONTHS or (words[i].isdigit() and len(words[i]) == 4):
            tags[i] = "B-DATE"
            i += 1
            continue
        end = i
        while end < len(words) and words[end][0].isupper() and words[end].lower() not in DAYS_AND_MONTHS:
            end += 1
        if end - i > 1 or (end - i == 1 and i > 0):
            kind = "PER" if end - i > 1 else "ORG" if words[i].isupper() and len(words[i]) > 1 else "LOC"
            tags[i:end] = ["B-" + kind] + ["I-" + kind] * (end - i - 1)
        i = max(i + 1, end)
    return tags


def word_shape(word):
    """The word with each kind of sign once: X for capitals, x for small letters, 9 for digits, others as they are.

    >>> word_shape("Saint-Louis"), word_shape("2019"), word_shape("UNICEF")
    ('Xx-Xx', '9', 'X')
    """
    signs = ("X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word)
    shape = ""
    for sign in signs:
        shape += sign if not shape.endswith(sign) else ""
    return shape


def word_features(words, i):
    """The features of word i as strings: itself, its ends, its shape, and its neighbours'.

    >>> word_features(["In", "Kano"], 1)[:3]
    ['word=kano', 'shape=Xx', 'first=False']
    """
    word = words[i].lower()
    found = [f"word={word}", f"shape={word_shape(words[i])}", f"first={i == 0}"]
    found += [f"start{n}={word[:n]}" for n in (1, 2, 3)] + [f"end{n}={word[-n:]}" for n in (1, 2, 3, 4)]
    for step in (-2, -1, 1, 2):
        near = words[i + step] if 0 <= i + step < len(words) else "<edge>"
        found += [f"{step}:word={near.lower()}", f"{step}:shape={word_shape(near)}"]
    return found


def hash_features(sentences):
    """The features of all words of all sentences, hashed: a sparse matrix (words, BUCKETS)."""
    hasher = FeatureHasher(BUCKETS, input_type="string", alternate_sign=False)
    return hasher.transform(word_features(words, i) for words in sentences for i in range(len(words)))


class LinearTagger:
    """Logistic regression on hashed features of words, then the best path that BIO allows.

    tags: the names of the classes, "O" first. fit(train) with a list of (words, tags), then predict(list of word lists).
    Source: Weinberger et al., 2009 (feature hashing); scikit-learn's FeatureHasher and LogisticRegression.
    """

    def __init__(self, tags, C=10.0):
        self.tags = list(tags)
        self.model = LogisticRegression(C=C, max_iter=300, tol=1e-3)

    def fit(self, train):
        labels = [self.tags.index(tag) for _, tags in train for tag in tags]
        self.model.fit(hash_features([words for words, _ in train]), labels)
        return self

    def word_scores(self, sentences):
        """Log-probabilities of the tags for each word: a list of arrays (words, tags), one a sentence."""
        sizes = [len(words) for words in sentences]
        scores = np.full((sum(sizes), len(self.tags)), NEVER)
        if sum(sizes):
            scores[:, self.model.classes_] = self.model.predict_log_proba(hash_features(sentences))
        return [scores[end - size : end] for size, end in zip(sizes, np.cumsum(sizes), strict=True)]

    def predict(self, sentences):
        return best_tags(self.word_scores(sentences), self.tags)
