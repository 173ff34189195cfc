"""A tokenizer trained here behaves like BERT's, and its cost per word is measured."""

import subprocess
import sys

import pytest
from leaplm.tokens import tokenization
from transformers import AutoTokenizer

TEXTS = ["Ina kwana? Lafiya lau.", "Yaya gida? Gida lafiya."] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return tokenization.train_wordpiece(TEXTS, vocab_size=120)


def test_round_trip(tokenizer):
    ids = tokenizer("Ina kwana?")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ina kwana?"
    assert [ids[0], ids[-1]] == [tokenizer.cls_token_id, tokenizer.sep_token_id]


def test_vocabulary_is_bounded_and_starts_with_the_special_tokens(tokenizer):
    assert len(tokenizer) <= 120
    assert tokenizer.convert_ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def test_every_process_finds_the_same_vocabulary(tmp_path):
    """Hash orders differ between processes; the vocabulary must not, or several processes train different models."""
    program = ("import sys, json; from leaplm.tokens.tokenization import train_wordpiece\n"
               "words = [f'{a}{b}{c}' for a in 'kmnr' for b in 'aiu' for c in 'tsyl']\n"
               "print(json.dumps(sorted(train_wordpiece(words, 90).get_vocab().items())))")
    found = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
             for _ in range(3)}
    assert len(found) == 1


def test_pairs_have_token_types(tokenizer):
    rows = tokenization.encode_pairs([("ina kwana", "lafiya lau", 1), ("ina", "gida", 0)], tokenizer)
    assert [row["label"] for row in rows] == [1, 0]
    row = rows[0]
    border = row["input_ids"].index(tokenizer.sep_token_id) + 1
    assert row["token_type_ids"] == [0] * border + [1] * (len(row["input_ids"]) - border)


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("Yaya gida?")["input_ids"] == tokenizer("Yaya gida?")["input_ids"]
    assert again.mask_token_id == tokenizer.mask_token_id


def test_accents_stay():
    tokenizer = tokenization.train_wordpiece(["ọjọ́ ọjọ", "òjò"] * 20, 60)
    assert tokenizer("ọjọ́")["input_ids"] != tokenizer("ọjọ")["input_ids"]


def test_fertility(tokenizer):
    assert tokenization.fertility(tokenizer, ["ina kwana"]) == 1
    assert tokenization.fertility(tokenizer, ["ina kwana lafiya?"]) == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="no word"):
        tokenization.fertility(tokenizer, [" "])


def test_unknown_share(tokenizer):
    assert tokenization.unknown_share(tokenizer, ["ina ღ kwana ღ"]) == 0.5


def test_no_text():
    with pytest.raises(ValueError, match="no text"):
        tokenization.train_wordpiece(["", " "], 100)
