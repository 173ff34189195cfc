"""A conditional random field: a linear model that also learns how well each tag follows each other one.

Sources: Lafferty, McCallum & Pereira, 2001, *Conditional random fields*; Okazaki, 2007, *CRFsuite*, through the package
python-crfsuite, which the extra `names` brings: `pip install "leaplm[names]"`.
"""

import tempfile
from pathlib import Path

from leaplm.locales import say
from leaplm.tagging.baselines import word_features


def crfsuite():
    """The package, or an ImportError that says how to get it."""
    try:
        import pycrfsuite
    except ImportError as error:
        raise ImportError(say('a CRF needs the package python-crfsuite: `pip install "leaplm[names]"`')) from error
    return pycrfsuite


class CrfTagger:
    """A CRF on the same features of words as LinearTagger, trained by L-BFGS.

    l1, l2: how strongly weights are held near zero. fit(train) with a list of (words, tags), then predict(list of word
    lists). Repeatable: nothing in it is random. ImportError where python-crfsuite is not installed.

    >>> CrfTagger().fit([(["In", "Kano"], ["O", "B-LOC"])] * 5).predict([["In", "Kano"]])    # doctest: +SKIP
    [['O', 'B-LOC']]
    """

    def __init__(self, l1=0.0, l2=0.01, iterations=100):
        self.settings = {"c1": l1, "c2": l2, "max_iterations": iterations}
        self.tagger = crfsuite().Tagger()

    def fit(self, train):
        trainer = crfsuite().Trainer("lbfgs", self.settings, verbose=False)
        for words, tags in train:
            trainer.append(features_of(words), tags)
        with tempfile.TemporaryDirectory() as folder:  # CRFsuite writes models to files alone, and reads them whole
            path = str(Path(folder) / "crf")
            trainer.train(path)
            self.tagger.open(path)
        return self

    def predict(self, sentences):
        return [self.tagger.tag(features_of(words)) for words in sentences]


def features_of(words):
    return [word_features(words, i) for i in range(len(words))]
