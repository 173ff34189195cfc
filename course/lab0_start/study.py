"""The studies of lab 0: `make calibrate LAB=lab0_start` runs them; marks rest on `fair`."""

import functools

import numpy as np
from leaplm.calibration import study
from leaplm.data import SIB200, heldout_sentences, load_sentences
from leaplm.models import load_tokenizer
from leaplm.tokens import costs as token_costs
from leaplm.tokens import tokenization

OTHERS = [language for language in SIB200 if language != "eng"]  # each together with English
DRAWN = ("hau", "swa", "yor", "amh", "hin", "mya", "zho")  # with the whole curve


@functools.cache
def texts(language):
    return token_costs.plenty_of(language)


@functools.cache
def own(language):
    """A tokenizer of the language alone, with as many pieces as the shared one."""
    return tokenization.train_byte_bpe(texts(language), token_costs.VOCABULARY)


def costs(tokenizer, language):
    """Of English and the other language, on validation sentences: tokens over those of a tokenizer of its own."""
    sentences = [load_sentences(some)["validation"] for some in ("eng", language)]
    return token_costs.relative_costs(tokenizer, [own("eng"), own(language)], sentences)


@functools.cache
def trained(language, alpha, seed):
    return token_costs.shared_tokenizer([texts("eng"), texts(language)], alpha, seed)


@study([{"language": language, "alpha": alpha} for language in DRAWN for alpha in token_costs.ALPHAS], seeds=range(5))
def sweep(seed, language, alpha):
    """The whole curve of section 7. The seed chooses which texts are read, and how often."""
    sizes = [token_costs.size_in_bytes(texts(some)) for some in ("eng", language)]
    english, other = costs(trained(language, alpha, seed), language)
    return {"share": float(token_costs.sampling_shares(sizes, alpha)[1]), "english": english, "other": other}


@study([{"language": language} for language in OTHERS], seeds=range(5))
def fair(seed, language):
    """The tokenizer that the lab hands in, on the grader's sentences: tokens per sentence in both languages."""
    measured = [costs(trained(language, alpha, seed), language) for alpha in token_costs.ALPHAS]
    alpha = token_costs.fairest(token_costs.ALPHAS, measured)
    english, other = (token_costs.mean_tokens(trained(language, alpha, seed), heldout_sentences(some))
                      for some in ("eng", language))
    return {"alpha": alpha, "heldout_english": english, "heldout_other": other}


@study([{"language": language} for language in SIB200], seeds=range(1))
def languages(seed, language):
    """What the sentences cost with SmolLM2, beside English, with a tokenizer of their own, and MiniLM's unknowns."""
    sentences, english = (load_sentences(some)["test"] for some in (language, "eng"))
    counts, english_counts = (tokenization.count_tokens(load_tokenizer("smollm2"), some) for some in (sentences, english))
    rows = token_costs.premium_rows({"eng": english_counts, "other": counts})
    alone = tokenization.train_byte_bpe(load_sentences(language)["train"])
    return {"smollm2_tokens": float(np.mean(counts)), "premium": token_costs.premium(counts, english_counts),
            "premium_sd": float(rows.set_index("language").sd["other"]),
            "own_tokens": token_costs.mean_tokens(alone, sentences), "fit": token_costs.sentences_that_fit(counts),
            "minilm_unknown": tokenization.unknown_share(load_tokenizer("minilm"), sentences)}
