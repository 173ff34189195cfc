"""Entities in a sequence of BIO tags, and how well they were found.

A tag is "O" (outside), "B-TYPE" (an entity of this type begins) or "I-TYPE" (it goes on). Sources: Ramshaw & Marcus, 1995,
*Text chunking using transformation-based learning*; Tjong Kim Sang & De Meulder, 2003, *Introduction to the CoNLL-2003
shared task* (an entity counts if its type and both borders are right).
"""

import numpy as np

from leaplm.locales import say


def find_entities(tags):
    """The entities of one sentence: a list of (type, start, end), words start to end - 1, in their order.

    tags: n strings. An "I-" that continues nothing (at the start, after "O", after another type) begins an entity, as
    in the CoNLL evaluation.

    >>> find_entities(["B-PER", "I-PER", "O", "B-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    entities = []
    for i, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        goes_on = prefix == "I" and entities and entities[-1][0] == kind and entities[-1][2] == i
        if goes_on:
            entities[-1] = (kind, entities[-1][1], i + 1)
        elif prefix != "O":
            entities.append((kind, i, i + 1))
    return entities


def count_matches(gold, predicted):
    """(sentences, 3) whole numbers: entities that are right, entities in gold, entities predicted, of each sentence.

    gold, predicted: lists of tag lists. ValueError where two sentences differ in length.
    """
    rows = []
    for number, (wanted, found) in enumerate(zip(gold, predicted, strict=True)):
        if len(wanted) != len(found):
            raise ValueError(say("sentence {number} has {words} words and {tags} predicted tags; give one a word",
                                 number=number, words=len(wanted), tags=len(found)))  # fmt: skip
        wanted, found = set(find_entities(wanted)), set(find_entities(found))
        rows.append((len(wanted & found), len(wanted), len(found)))
    return np.array(rows, dtype=int).reshape(-1, 3)


def f1_from(counts):
    """{"precision", "recall", "f1"} from the sums of `count_matches`; 0 where nothing was predicted, or is there."""
    right, wanted, found = (int(total) for total in counts.sum(axis=0))
    return {"precision": right / found if found else 0.0, "recall": right / wanted if wanted else 0.0,
            "f1": 2 * right / (wanted + found) if right else 0.0}


def entity_scores(gold, predicted):
    """Precision, recall and F1 over all entities of all sentences (micro average), each from 0 to 1.

    >>> entity_scores([["B-PER", "I-PER", "O"]], [["B-PER", "O", "B-LOC"]])
    {'precision': 0.0, 'recall': 0.0, 'f1': 0.0}
    """
    return f1_from(count_matches(gold, predicted))


def scores_by_type(gold, predicted):
    """{type: entity_scores of this type alone}, for the types of gold, sorted."""
    kinds = sorted({kind for tags in gold for kind, _, _ in find_entities(tags)})
    return {kind: entity_scores(only_type(gold, kind), only_type(predicted, kind)) for kind in kinds}


def only_type(sentences, kind):
    return [[tag if tag[2:] == kind else "O" for tag in tags] for tags in sentences]


def token_accuracy(gold, predicted):
    """The share of words with the right tag. Most words are "O", so always "O" looks good."""
    pairs = [pair for tags, found in zip(gold, predicted, strict=True) for pair in zip(tags, found, strict=True)]
    return sum(first == second for first, second in pairs) / max(1, len(pairs))


def f1_interval(gold, predicted, rounds=1000, seed=0):
    """(low, high): the 2.5 and 97.5 % points of the F1 when whole sentences are drawn with replacement.

    Entities of one sentence are found or missed together, so a sentence, not an entity, is what is drawn.
    Source: Efron & Tibshirani, 1993, *An introduction to the bootstrap*.
    """
    counts = count_matches(gold, predicted)
    return over_draws(lambda rows: f1_from(counts[rows])["f1"], len(counts), rounds, seed)


def f1_gain(gold, first, second, rounds=1000, seed=0):
    """How much better `second` is than `first` in F1, on the same sentences: {"gain", "low", "high"} (paired bootstrap)."""
    before, after = count_matches(gold, first), count_matches(gold, second)

    def gain(rows):
        return f1_from(after[rows])["f1"] - f1_from(before[rows])["f1"]

    low, high = over_draws(gain, len(before), rounds, seed)
    return {"gain": gain(slice(None)), "low": low, "high": high}


def over_draws(score, sentences, rounds, seed):
    """(low, high): the 2.5 and 97.5 % points of score(rows), where as many rows as there are sentences are drawn with
    replacement."""
    rng = np.random.default_rng(seed)
    found = [score(rng.integers(0, sentences, sentences)) for _ in range(rounds)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def name_of(words, entity):
    """The words of an entity (type, start, end) as one string, in lower case.

    >>> name_of(["In", "Dar", "es", "Salaam"], ("LOC", 1, 4))
    'dar es salaam'
    """
    return " ".join(words[entity[1] : entity[2]]).lower()


def recall_seen_unseen(train, test, predicted):
    """(recall of names that occur as an entity in train, recall of the others); NaN where there is none of a kind.

    train, test: lists of (words, tags); predicted: tag lists for test. A name is the words without letter case.
    """
    known = {name_of(words, entity) for words, tags in train for entity in find_entities(tags)}
    hits = {True: [], False: []}
    for (words, tags), guess in zip(test, predicted, strict=True):
        found = set(find_entities(guess))
        for entity in find_entities(tags):
            hits[name_of(words, entity) in known].append(entity in found)
    return tuple(float(np.mean(hits[seen])) if hits[seen] else float("nan") for seen in (True, False))
