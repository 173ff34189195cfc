"""Tokenizers: train one on a corpus of your own, and see what a language costs in an old one."""

from collections import Counter

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from leaplm.locales import say

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
        raise ValueError(say("there is no text to train a tokenizer on"))
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
        raise ValueError(say("a vocabulary begins with {pieces} and names no piece twice", pieces=", ".join(special)))
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


def learn_merges(words, count):
    """The first `count` merges of BPE as pairs of pieces; words: {word: how often it occurs}. Fewer when none is left.

    Words begin as letters. Each round joins, in all words, the two neighbours that stand together most often; of equally
    frequent pairs the one that comes first in the order of Python's strings. Source: Sennrich et al., 2016, section 3.2.

    >>> learn_merges({"kano": 3, "kan": 2, "no": 4}, 2)
    [('n', 'o'), ('k', 'a')]
    """
    pieces, merges = {word: list(word) for word in words}, []
    while len(merges) < count:
        pairs = Counter()
        for word, parts in pieces.items():
            for pair in zip(parts, parts[1:], strict=False):
                pairs[pair] += words[word]
        if not pairs:
            break
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        pieces = {word: join_pair(parts, merges[-1]) for word, parts in pieces.items()}
    return merges


def join_pair(pieces, pair):
    """The pieces of a word with each occurrence of `pair` joined, from the left.

    >>> join_pair(["a", "a", "a"], ("a", "a"))
    ['aa', 'a']
    """
    joined, place = [], 0
    while place < len(pieces):
        width = 2 if tuple(pieces[place : place + 2]) == tuple(pair) else 1
        joined.append("".join(pieces[place : place + width]))
        place += width
    return joined


def split_word(word, vocabulary):
    """The WordPiece pieces of one word: the longest piece first, and ["[UNK]"] if any rest has none.

    vocabulary: a set (or dict) of pieces; those that continue a word begin with "##". Source: Wu et al., 2016; Devlin et
    al., 2019 (the code of BERT).

    >>> split_word("kwanan", {"k", "kwana", "##n", "##na"})
    ['kwana', '##n']
    """
    pieces, rest = [], word
    while rest:
        mark = "##" if pieces else ""
        end = next((end for end in range(len(rest), 0, -1) if mark + rest[:end] in vocabulary), None)
        if end is None:
            return ["[UNK]"]
        pieces.append(mark + rest[:end])
        rest = rest[end:]
    return pieces


def byte_fallback(text, letters):
    """The letters of a text; for each one that is not in `letters`, its UTF-8 bytes in the form "<0xE1>" instead.

    Source: Kudo and Richardson, 2018, SentencePiece (its option byte_fallback).

    >>> byte_fallback("aé", {"a"})
    ['a', '<0xC3>', '<0xA9>']
    """
    found = [[letter] if letter in letters else [f"<0x{byte:02X}>" for byte in letter.encode()] for letter in text]
    return [token for tokens in found for token in tokens]


def train_byte_bpe(texts, vocab_size=2048):
    """A byte-level BPE tokenizer with at most `vocab_size` pieces: it knows all 256 bytes, so it can write any text.

    A piece may begin with a blank but never holds one inside, nor a punctuation mark beside a letter. It changes no letter
    and adds no special token; `decode` gives the text back. Raises ValueError if there is nothing to learn from. Source:
    Radford et al., 2019, section 2.2; unlike theirs, a vowel sign of Hindi or Burmese does not end a word.
    """
    texts = list(texts)
    if not any(text.strip() for text in texts):
        raise ValueError(say("there is no text to train a tokenizer on"))
    trained = empty_byte_bpe()
    trained.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=trained, clean_up_tokenization_spaces=False)


def byte_bpe_from(vocabulary, merges):
    """The byte-level BPE tokenizer of a vocabulary {piece: id} and its merges, a list of pairs of pieces."""
    tokenizer = empty_byte_bpe(vocabulary, merges)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


def empty_byte_bpe(vocabulary=None, merges=()):
    """The pipeline of `train_byte_bpe` around a vocabulary and its merges."""
    tokenizer = Tokenizer(models.BPE(vocabulary or {}, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(" ", "merged_with_next"), pre_tokenizers.Punctuation("isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def count_tokens(tokenizer, texts):
    """Tokens of each text, without special tokens: a list of int."""
    return [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def is_lossless(tokenizer, texts):
    """Whether every text comes back, letter by letter, from its tokens."""
    ids = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return all(tokenizer.decode(row, clean_up_tokenization_spaces=False) == text
               for row, text in zip(ids, texts, strict=True))


def fertility(tokenizer, texts):
    """Tokens per word (words are what white space separates), special tokens left out: 1 is best, 3 is expensive.

    Source: Rust et al., 2021, section 3.2.
    """
    texts = list(texts)
    words = sum(len(text.split()) for text in texts)
    if not words:
        raise ValueError(say("there is no word in these texts"))
    return sum(count_tokens(tokenizer, texts)) / words


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
