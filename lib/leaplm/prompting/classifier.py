"""A classifier out of a prompt, and the choice of a prompt by a few labelled texts."""

import numpy as np

from leaplm.evaluation import accuracy, bootstrap_interval, macro_f1
from leaplm.prompting.templates import METHODS, Verbalizer, ensemble, score_methods


class PromptClassifier:
    """Says for each text which of a few words is most probable after the prompt.

    template: a PromptTemplate. words: the word of each class. demonstrations: (text, class number) pairs that stand before
    each text with their answers. batch_size: texts that go through the model together.

    >>> classifier = PromptClassifier(model, tokenizer, template, ["bad", "good"])  # doctest: +SKIP
    >>> classifier.predict(["A surprisingly warm film."])                           # doctest: +SKIP
    array([1])
    """

    def __init__(self, model, tokenizer, template, words, demonstrations=(), batch_size=16):
        self.model, self.tokenizer, self.template, self.batch_size = model, tokenizer, template, batch_size
        self.verbalizer = Verbalizer(words)
        self.pairs = tuple((text, self.verbalizer.words[int(label)]) for text, label in demonstrations)

    def __call__(self, texts, methods=METHODS):
        """{method: scores (n, c)}; one pass over the texts serves all methods."""
        return score_methods(self.model, self.tokenizer, texts, self.template, self.verbalizer, methods, self.pairs,
                             self.batch_size)

    def predict(self, texts, method="sum"):
        """Class numbers (n,): the class with the largest score."""
        return self(texts, (method,))[method].argmax(-1)


def tune_prompt(score, templates, texts, labels, folds=5):
    """Choose a template and a way of scoring by a few labelled texts, and say what such a choice is worth.

    score(template, texts) gives {method: scores (n, c)}, the same methods for each template. templates: {name: template}.
    labels (n,): class numbers. Returns a dict:

    "template", "method": those with the largest macro-F1 on all texts. Among equals the template that comes first wins,
    then the method that comes first. "macro_f1": theirs; too good on average, since the same texts have chosen.
    "held_out_macro_f1": the same choice, made `folds` times without every folds-th text (k, k + folds, ...), and tested on
    the texts left out, whose predictions are put together. "interval": its 95 % bootstrap interval over the texts.
    "vote_accuracy": {method: accuracy of the vote of all templates}, for which no label is needed.

    Source: Varma & Simon, 2006, *Bias in error estimation when using cross-validation for model selection*.

    >>> def score(template, texts):  # "yes" says class 1 of all texts, "same" says what stands in the text
    ...     return {"sum": np.array([[0.0, 1.0] if template == "yes" else [-int(t), 0.0] if t == "1" else [1.0, 0.0]
    ...                              for t in texts])}
    >>> found = tune_prompt(score, {"a": "yes", "b": "same"}, ["0", "1", "1", "0"], [0, 1, 1, 0], folds=2)
    >>> found["template"], found["method"], found["macro_f1"], found["held_out_macro_f1"]
    ('b', 'sum', 1.0, 1.0)
    """
    labels, rows = np.asarray(labels), np.arange(len(texts))
    tables = {name: score(template, texts) for name, template in templates.items()}
    predicted = {(name, method): np.asarray(found).argmax(-1) for name, methods in tables.items()
                 for method, found in methods.items()}
    name, method = best_of(predicted, labels, rows)
    held_out = np.empty_like(labels)
    for k in range(min(folds, len(rows))):
        left_out = rows % folds == k
        held_out[left_out] = predicted[best_of(predicted, labels, rows[~left_out])][left_out]
    votes = {way: ensemble(np.stack([np.asarray(found[way]) for found in tables.values()]))
             for way in next(iter(tables.values()))}
    return {"template": name, "method": method, "macro_f1": macro_f1(labels, predicted[name, method]),
            "held_out_macro_f1": macro_f1(labels, held_out),
            "interval": bootstrap_interval(labels, held_out, macro_f1),
            "vote_accuracy": {way: accuracy(labels, vote) for way, vote in votes.items()}}


def best_of(predicted, labels, rows):
    """The key of the predictions (n,) with the largest macro-F1 on some rows; the first among equals."""
    return max(predicted, key=lambda key: macro_f1(labels[rows], predicted[key][rows]))
