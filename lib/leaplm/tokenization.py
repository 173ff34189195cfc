"""Tokenizers: train one on a corpus of your own, and see what a language costs in an old one."""

from collections import Counter

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
                  "mask_token": "[MASK]"}


def train_wordpiece(texts, vocab_size, lowercase=True):
    """A WordPiece tokenizer like BERT's with at most `vocab_size` tokens, trained on `texts` (iterable of str).

    Accents stay: in Yoruba or Vietnamese they tell words apart. Raises ValueError if there is nothing to learn from.
    Sources: Wu et al., 2016, section 4.1; Devlin et al., 2019.

    >>> tokenizer = train_wordpiece(["ina kwana", "ina wuni"] * 10, vocab_size=40)
    >>> tokenizer.convert_ids_to_tokens(tokenizer("ina kwana")["input_ids"])
    ['[CLS]', 'ina', 'kwana', '[SEP]']
    """
    texts = list(texts)
    if not any(text.strip() for text in texts):
        raise ValueError("there is no text to train a tokenizer on")
    trained = empty_wordpiece({}, lowercase)
    clean, letters = keep_frequent_letters([trained.normalizer.normalize_str(text) for text in texts], vocab_size // 4)
    # The trainer numbers the pieces of one letter in an order that changes from run to run, and with it the ties between
    # equally frequent pairs. Named in advance, they have a fixed place, and every machine finds the same vocabulary.
    first = [*SPECIAL_TOKENS.values(), *letters, *(f"##{letter}" for letter in letters)]
    trained.train_from_iterator(clean, trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=first, show_progress=False))
    vocabulary = trained.get_vocab()
    return wordpiece_from(sorted(vocabulary, key=vocabulary.get), lowercase)


def wordpiece_from(pieces, lowercase=True):
    """The tokenizer of a vocabulary: a list of pieces in the order of their numbers, the five special tokens first.

    Raises ValueError for a list that begins otherwise or names a piece twice.
    """
    special = list(SPECIAL_TOKENS.values())
    if list(pieces[: len(special)]) != special or len(set(pieces)) < len(pieces):
        raise ValueError(f"a vocabulary begins with {', '.join(special)} and names no piece twice")
    tokenizer = empty_wordpiece({piece: i for i, piece in enumerate(pieces)}, lowercase)
    places = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=places)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS)


def empty_wordpiece(vocabulary, lowercase):
    """BERT's pipeline around a vocabulary {piece: id}."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def keep_frequent_letters(texts, most):
    """(texts without their rare characters, the characters kept, in order): at most `most`, 99.95 % of the text."""
    counts = Counter(letter for text in texts for letter in text if not letter.isspace())
    ranked = sorted(counts, key=lambda letter: (-counts[letter], letter))[:most]
    covered = np.cumsum([counts[letter] for letter in ranked]) / counts.total()
    kept = set(ranked[: int(np.searchsorted(covered, 0.9995)) + 1])
    rare = str.maketrans(dict.fromkeys(set(counts) - kept, " "))
    return [text.translate(rare) for text in texts], sorted(kept)


def fertility(tokenizer, texts):
    """Tokens per word (words are what white space separates), special tokens left out: 1 is best, 3 is expensive.

    Source: Rust et al., 2021, section 3.2.
    """
    texts = list(texts)
    words = sum(len(text.split()) for text in texts)
    if not words:
        raise ValueError("there is no word in these texts")
    tokens = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return sum(map(len, tokens)) / words


def unknown_share(tokenizer, texts):
    """Share of tokens that the tokenizer has no piece for ([UNK]), in [0, 1]."""
    tokens = np.concatenate([np.array(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]])
    return float(np.mean(tokens == tokenizer.unk_token_id))


def encode_pairs(pairs, tokenizer, max_length=128):
    """Rows for next-sentence prediction from (first, second, is_next): input_ids, token_type_ids (0, 1) and label."""
    first, second, labels = zip(*pairs, strict=True)
    found = tokenizer(list(first), list(second), truncation=True, max_length=max_length, return_token_type_ids=True)
    columns = zip(found["input_ids"], found["token_type_ids"], labels, strict=True)
    return [{"input_ids": ids, "token_type_ids": kinds, "label": label} for ids, kinds, label in columns]
