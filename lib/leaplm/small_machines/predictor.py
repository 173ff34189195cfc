"""A TF-IDF classifier as one small file, and the program that reads it: NumPy, and nothing else that has to be installed.

The file is safetensors (no pickle: reading runs nothing of its maker's). `pieces` are the pieces of words as UTF-8, one a
line, in the order of the columns; `idf` (pieces,) their inverse document frequencies; `weight` (classes, pieces) and `bias`
(classes,) the linear layer. `weight` is floating-point numbers, or 4-bit numbers, two a byte, with `weight::scale` (classes,
groups). The card says the labels, what a piece is ("characters" or "words"), and how long pieces are.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from leaplm.plain_json import read_json
from leaplm.small_machines.groups import GROUP, NF4, dequantize_groups, pack_pairs, quantize_groups, unpack_pairs
from leaplm.text import find_words, normalize
from leaplm.whole_file import write_whole

FORMAT, CARD = "tfidf", "leaplm_card"
MOST_HEADER, MOST_CLASSES, MOST_LENGTH = 4 << 20, 100, 8
SCALE = "::scale"


def text_pieces(text, shortest=2, longest=5):
    """All pieces of `shortest` to `longest` characters of each word with a blank on both sides: a list of str.

    A word that is shorter than a piece is one piece itself, once, and has no longer ones. scikit-learn calls this
    "char_wb". The text is taken as it is: `normalize` it before.

    >>> text_pieces("na go", 3, 4)
    [' na', 'na ', ' na ', ' go', 'go ', ' go ']
    """
    found = []
    for word in text.split():
        word = f" {word} "
        for size in range(shortest, longest + 1):
            found += [word[i : i + size] for i in range(max(1, len(word) - size + 1))]
            if size >= len(word):
                break
    return found


def text_terms(text, units="characters", shortest=2, longest=5):
    """The pieces of a text as the classifier counts them: characters, or words and runs of words joined by a blank."""
    text = normalize(text)
    if units == "characters":
        return text_pieces(text, shortest, longest)
    words = find_words(text)
    return [" ".join(words[i : i + size]) for size in range(shortest, longest + 1) for i in range(len(words) - size + 1)]


def weigh_pieces(pieces, columns, idf):
    """(places, values): the columns of the known pieces, ascending, each once, and their TF-IDF numbers, of length 1.

    pieces: a list of str. columns: {piece: its column}. idf (all columns,). A piece that occurs n times counts
    (1 + ln n) times its idf; then all values are divided by the root of the sum of their squares.

    >>> places, values = weigh_pieces(["a", "b", "a", "x"], {"b": 0, "a": 2}, np.array([1.0, 9.0, 1.0]))
    >>> places.tolist(), values.round(3).tolist()
    ([0, 2], [0.509, 0.861])
    """
    counts = Counter(columns[piece] for piece in pieces if piece in columns)
    places = np.array(sorted(counts), dtype=np.int64)
    values = (1 + np.log([counts[place] for place in places])) * np.asarray(idf, dtype=np.float64)[places]
    return places, values / (np.linalg.norm(values) or 1.0)


def class_probabilities(places, values, weight, bias):
    """Probabilities (classes,) of one text: softmax of weight (classes, columns) times its TF-IDF numbers, plus bias.

    >>> class_probabilities([1], [1.0], np.array([[5.0, 0.0], [5.0, 1.0]]), np.zeros(2)).round(3).tolist()
    [0.269, 0.731]
    """
    scores = np.asarray(weight, dtype=np.float64)[:, places] @ np.asarray(values, dtype=np.float64) + bias
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


class Predictor:
    """Texts -> probabilities (n, classes). `labels` are the class names, `card` what the file says of itself."""

    name = "numpy"

    def __init__(self, card, pieces, idf, weight, bias):
        self.card, self.labels, self.pieces = card, card["labels"], pieces
        self.columns = {piece: place for place, piece in enumerate(pieces)}
        self.idf, self.weight, self.bias = idf, weight, bias

    def predict(self, texts):
        """Probabilities (n, classes) as an array."""
        rows = [class_probabilities(*self.weigh(text), self.weight, self.bias) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, len(self.labels)))

    def weigh(self, text):
        """(places, values) of one text, as `weigh_pieces` gives them."""
        return weigh_pieces(self.terms(text), self.columns, self.idf)

    def terms(self, text):
        return text_terms(text, self.card["units"], self.card["shortest"], self.card["longest"])

    def known_share(self, text):
        """The share of a text's pieces that the classifier knows, from 0 to 1; 1 for a text without any."""
        terms = self.terms(text)
        return sum(term in self.columns for term in terms) / len(terms) if terms else 1.0


def from_pipeline(pipeline, labels, language="", **card):
    """The Predictor of a fitted `evaluation.tfidf_classifier` (scikit-learn); it gives the same probabilities.

    labels: the class names in the order of the class numbers. card: what else the file should say.
    """
    vectorizer, linear = (step for _, step in pipeline.steps)
    pieces = list(vectorizer.get_feature_names_out())
    weight, bias = linear.coef_, linear.intercept_
    if len(weight) == 1:  # two classes: scikit-learn keeps the difference of their scores
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.append(0.0, bias)
    shortest, longest = vectorizer.ngram_range
    units = "characters" if vectorizer.analyzer == "char_wb" else "words"
    labels = [labels[number] for number in linear.classes_]
    return Predictor({**card, "format": FORMAT, "labels": labels, "language": language, "units": units,
                      "shortest": shortest, "longest": longest}, pieces, vectorizer.idf_, weight, bias)


def keep_pieces(predictor, most):
    """A Predictor with at most `most` pieces: those whose weights differ most between the classes, times their idf."""
    spread = np.ptp(predictor.weight, axis=0) * predictor.idf
    kept = np.sort(np.argsort(-spread, kind="stable")[:most])
    return Predictor(predictor.card, [predictor.pieces[i] for i in kept], predictor.idf[kept], predictor.weight[:, kept],
                     predictor.bias)


def fit_predictor(texts, labels, names, language=""):
    """A Predictor with all pieces of 2 to 5 characters, fitted by scikit-learn on texts and class numbers, both (n,).

    names: the class names in the order of their numbers.
    """
    from leaplm.evaluation import tfidf_classifier

    return from_pipeline(tfidf_classifier("characters").fit(list(texts), list(labels)), names, language)


def save_predictor(path, predictor, bits=16):
    """Write a Predictor to `path` and return the size in MB. bits: of a weight, 32, 16 or 4 (NF4 in groups of 32)."""
    from safetensors.numpy import save

    if bits not in (32, 16, 4):
        raise ValueError(f"bits={bits}: use 32, 16 or 4")
    form = np.float32 if bits == 32 else np.float16
    stored = {"pieces": np.frombuffer("\n".join(predictor.pieces).encode(), dtype=np.uint8),
              "idf": predictor.idf.astype(form), "bias": predictor.bias.astype(np.float32)}
    if bits == 4:
        numbers, stored["weight" + SCALE] = quantize_groups(predictor.weight)
        stored["weight"] = pack_pairs(numbers.flatten())
    else:
        stored["weight"] = predictor.weight.astype(form)
    # safetensors writes the bytes as they lie in memory, also of an array whose columns lie behind each other.
    stored = {name: np.ascontiguousarray(table) for name, table in stored.items()}
    content = save(stored, metadata={CARD: json.dumps({**predictor.card, "format": FORMAT})})
    write_whole(path, content)
    return len(content) / 1e6


def read_card(content):
    """The card of an artifact (bytes or path) without reading its tensors. ValueError if it is none.

    >>> read_card(b"not a file")
    Traceback (most recent call last):
    ...
    ValueError: this is not an artifact of the labs
    """
    try:
        if not isinstance(content, bytes):
            with open(content, "rb") as file:
                content = file.read(8 + MOST_HEADER)
        length = int.from_bytes(content[:8], "little")
        if length > MOST_HEADER:
            raise ValueError("a header that long is none")
        card = read_json(read_json(content[8 : 8 + length])["__metadata__"][CARD])
    except OSError:
        raise
    except Exception:  # the header may hold anything
        raise ValueError("this is not an artifact of the labs") from None
    if not isinstance(card, dict):
        raise ValueError("the artifact's card is not a dict")
    return card


def load_predictor(content):
    """The Predictor of a file that `save_predictor` wrote, given as bytes or path.

    Raises ValueError that says what is wrong with the file.
    """
    from safetensors.numpy import load

    content = content if isinstance(content, bytes) else Path(content).read_bytes()
    card = check_card(read_card(content))
    try:
        tensors = load(content)
        pieces = tensors["pieces"].astype(np.uint8).tobytes().decode()
        idf, bias, weight = (tensors[name] for name in ("idf", "bias", "weight"))
    except KeyError as missing:
        raise ValueError(f"the file lacks the tensor {missing}") from None
    except Exception as error:  # safetensors raises its own type
        raise ValueError(f"the file is damaged ({type(error).__name__})") from None
    pieces = pieces.split("\n") if pieces else []
    weight = unpack_weight(weight, tensors.get("weight" + SCALE), len(card["labels"]), len(pieces))
    check_tables(card, pieces, idf, weight, bias)
    return Predictor(card, pieces, idf.astype(np.float64), weight, bias.astype(np.float64))


def unpack_weight(weight, scales, classes, columns):
    """The weights (classes, columns) in floating-point numbers."""
    if scales is None:
        return weight
    if weight.dtype != np.uint8 or weight.ndim != 1 or scales.shape != (classes, -(-columns // GROUP)):
        raise ValueError("`weight` and `weight::scale` do not fit: 4-bit numbers, two a byte, in groups of 32")
    if len(weight) != -(-classes * columns // 2):
        raise ValueError(f"`weight` has {len(weight)} bytes, not the half of {classes} x {columns} numbers")
    return dequantize_groups(unpack_pairs(weight, classes * columns).reshape(classes, columns), scales, GROUP, NF4)


def check_card(card):
    """The card; ValueError unless it says what the program has to know."""
    labels = card.get("labels")
    if card.get("format") != FORMAT:
        raise ValueError(f"the card's format is {card.get('format')!r}, not {FORMAT!r}")
    if not (isinstance(labels, list) and 2 <= len(labels) <= MOST_CLASSES and all(isinstance(w, str) for w in labels)
            and len(set(labels)) == len(labels)):
        raise ValueError("the card should name the classes: a list `labels` of at least two different words")
    if card.get("units") not in ("characters", "words"):
        raise ValueError("the card should say what a piece is: units \"characters\" or \"words\"")
    lengths = card.get("shortest"), card.get("longest")
    if not (all(type(n) is int for n in lengths) and 1 <= lengths[0] <= lengths[1] <= MOST_LENGTH):
        raise ValueError(f"the card should say how long pieces are: shortest and longest, from 1 to {MOST_LENGTH}")
    return card


def check_tables(card, pieces, idf, weight, bias):
    """ValueError unless the tables have the shapes and the numbers that the card promises."""
    classes, columns = len(card["labels"]), len(pieces)
    if len(set(pieces)) != columns:
        raise ValueError("a piece stands twice in `pieces`")
    for name, table, shape in (("idf", idf, (columns,)), ("weight", weight, (classes, columns)), ("bias", bias, (classes,))):
        if table.shape != shape:
            raise ValueError(f"`{name}` has shape {table.shape}, not {shape}")
        if not np.issubdtype(table.dtype, np.floating) or not np.isfinite(table).all():
            raise ValueError(f"`{name}` should hold finite numbers with a fraction")
