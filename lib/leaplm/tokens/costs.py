"""What a language costs in tokens, and tokenizers that share the cost between two languages."""

import json

import numpy as np
import pandas as pd

from leaplm import data
from leaplm.plain_json import read_json
from leaplm.tokens import tokenization
from leaplm.whole_file import write_whole

ALPHAS = (1.0, 0.5, 0.0, -0.2, -0.4, -0.8)  # from all text as it is (1) over equal shares (0) to the small language first
VOCABULARY = 2048
MIXTURE = 400_000  # bytes of text that a shared tokenizer is trained on
MAX_FILE = 500_000  # bytes of a tokenizer file
MAX_PIECES = VOCABULARY


def premium(counts, english_counts):
    """Tokens of some sentences over the tokens of the same sentences in English: 1 is fair, 2 is twice the price.

    counts, english_counts: tokens of each sentence. Source: Petrov et al., 2023, section 3.
    """
    return float(np.sum(counts) / np.sum(english_counts))


def premium_rows(counts, english="eng", draws=500, seed=0):
    """Rows (language, mean, sd) for `plots.plot_bars` from {language: tokens of each of the same sentences}, cheapest first.

    sd: of the premium over `draws` sets of as many sentences, drawn with replacement: how far others would move it.
    """
    table = {language: np.asarray(some) for language, some in counts.items()}
    drawn = np.random.default_rng(seed).integers(len(table[english]), size=(draws, len(table[english])))
    rows = [{"language": data.NAMES.get(language, language), "mean": premium(some, table[english]),
             "sd": float(np.std(some[drawn].sum(1) / table[english][drawn].sum(1)))} for language, some in table.items()]
    return pd.DataFrame(rows).sort_values("mean", ignore_index=True)


def sentences_that_fit(counts, window=2048, reserved=0):
    """How many whole sentences, from the first on, fit into `window` tokens if `reserved` of them stay free."""
    return int(np.searchsorted(np.cumsum(counts), window - reserved, side="right"))


def sampling_shares(sizes, alpha):
    """Each language's share of the training text, in proportion to its size to the power `alpha`: an array of sum 1.

    Source: Conneau et al., 2020 (XLM-R), section 3.1; theirs is alpha = 0.3.
    """
    weights = np.asarray(sizes, dtype=float) ** alpha
    return weights / weights.sum()


def fairest(alphas, costs):
    """The alpha whose worse-off language loses least. costs: for each alpha the costs of the languages."""
    return alphas[int(np.argmin(np.max(costs, axis=1)))]


def size_in_bytes(texts):
    return sum(len(text.encode()) for text in texts)


def mix_texts(parts, shares, size=MIXTURE, seed=0):
    """About `size` bytes of text of which each part (a list of texts) gives its share; small ones are read several times."""
    rng, mixed = np.random.default_rng(seed), []
    for texts, share in zip(parts, shares, strict=True):
        lengths, wanted = np.array([len(text.encode()) for text in texts]), share * size
        rounds = int(wanted // lengths.sum()) + 1
        order = np.concatenate([rng.permutation(len(texts)) for _ in range(rounds)])
        mixed += [texts[i] for i in order[: np.searchsorted(np.cumsum(lengths[order]), wanted)]]
    return mixed


def mean_tokens(tokenizer, texts):
    """Tokens per sentence."""
    return float(np.mean(tokenization.count_tokens(tokenizer, texts)))


def shared_tokenizer(parts, alpha, seed=0, vocab_size=VOCABULARY):
    """A byte-level BPE tokenizer for several languages, from texts mixed by `sampling_shares` of their sizes."""
    shares = sampling_shares([size_in_bytes(texts) for texts in parts], alpha)
    return tokenization.train_byte_bpe(mix_texts(parts, shares, seed=seed), vocab_size)


def relative_costs(tokenizer, own, sentences):
    """Of each language: tokens over those of a tokenizer of its own with the same number of pieces (1 = loses nothing)."""
    return [mean_tokens(tokenizer, texts) / mean_tokens(alone, texts) for alone, texts in zip(own, sentences, strict=True)]


def plenty_of(language):
    """Training texts of a language: in English many thousands (reviews and tweets), elsewhere the sentences there are."""
    return list(data.load_corpus("eng")["train"]["text"]) if language == "eng" else data.load_sentences(language)["train"]


# -- tokenizer files ------------------------------------------------------------------------------------------------------


def save_tokenizer(path, tokenizer, **card):
    """Write a tokenizer (as the `tokenizer.json` that libraries read) and a card to a JSON file; returns its size in kB."""
    content = json.dumps({"card": card, "tokenizer": json.loads(tokenizer.backend_tokenizer.to_str())}, ensure_ascii=False)
    write_whole(path, content)
    return len(content.encode()) / 1000


def read_tokenizer(content):
    """(card, tokenizer) of a file that `save_tokenizer` wrote, as bytes. Raises ValueError if it is not one.

    Only pieces and merges are taken from the file. The rest of the pipeline is ours, so nothing else in it has an effect.
    """
    if len(content) > MAX_FILE:
        raise ValueError(f"the file has {len(content):,} bytes; at most {MAX_FILE:,} are possible")
    try:
        found = read_json(content)
        card, parts = found["card"], found["tokenizer"]
        model = parts["model"]
        kind, vocabulary, merges = model["type"], model["vocab"], model["merges"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"this is not a tokenizer file (`{type(error).__name__}: {str(error)[:80]}`)") from None
    if not isinstance(card, dict) or kind != "BPE":
        raise ValueError("a card and a BPE tokenizer are wanted")
    check_pipeline(parts)
    return card, tokenization.byte_bpe_from(*checked_pieces(vocabulary, merges))


def check_pipeline(parts):
    """The steps around the pieces must be those of `train_byte_bpe`: others would not be used."""
    ours = json.loads(tokenization.empty_byte_bpe().to_str())
    if parts.get("normalizer") is not None:
        raise ValueError("its normalizer changes the text, so the text cannot come back")
    if parts.get("added_tokens"):
        raise ValueError("tokens were added to it after training")
    if parts.get("pre_tokenizer") != ours["pre_tokenizer"]:
        raise ValueError("it does not cut texts into words as `tokenization.train_byte_bpe` does")


def checked_pieces(vocabulary, merges):
    """(vocabulary, merges as pairs), if a BPE model can be made of them."""
    if not isinstance(vocabulary, dict) or not isinstance(merges, list) or len(vocabulary) > MAX_PIECES:
        raise ValueError(f"a vocabulary of at most {MAX_PIECES} pieces and a list of merges are wanted")
    numbers = list(vocabulary.values())
    if any(type(number) is not int for number in numbers) or sorted(numbers) != list(range(len(numbers))):
        raise ValueError("the pieces are not numbered from 0 on")
    pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else merge for merge in merges]
    if len(pairs) > 2 * MAX_PIECES or not all(is_merge(pair, vocabulary) for pair in pairs):
        raise ValueError("its merges do not join pieces of its vocabulary")
    if not all(piece.isprintable() for piece in vocabulary):
        raise ValueError("its pieces are not written as bytes")
    return vocabulary, [tuple(pair) for pair in pairs]


def is_merge(pair, vocabulary):
    return (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
            and all(part in vocabulary for part in (*pair, "".join(pair))))
