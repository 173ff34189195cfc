"""Token costs: what the functions promise, and what the reader of tokenizer files refuses."""

import json

import numpy as np
import pytest
from leaplm import data
from leaplm.tokens import costs as token_costs
from leaplm.tokens import tokenization

TEXTS = ["ina kwana, lafiya lau", "ዝናቡ አልመጣም።", "the rain came late"] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return tokenization.train_byte_bpe(TEXTS, 400)


def saved(tokenizer, tmp_path, **card):
    token_costs.save_tokenizer(tmp_path / "tokenizer.json", tokenizer, **card)
    return (tmp_path / "tokenizer.json").read_bytes()


def test_byte_bpe_gives_any_text_back(tokenizer):
    strange = ["a  b \n\tc", "្ខ្មែរ", "😀 don't!", "  ", "ɓarna: 3,5 %", "မြန်မာ"]
    assert tokenization.is_lossless(tokenizer, TEXTS + strange)
    assert sum(tokenization.count_tokens(tokenizer, TEXTS[:1])) < len(TEXTS[0]) / 2


def test_byte_bpe_is_the_same_each_time(tokenizer):
    assert tokenization.train_byte_bpe(TEXTS, 400).get_vocab() == tokenizer.get_vocab()


def test_byte_bpe_needs_text():
    with pytest.raises(ValueError, match="no text"):
        tokenization.train_byte_bpe(["", " "])


def test_a_saved_tokenizer_reads_back(tokenizer, tmp_path):
    card, again = token_costs.read_tokenizer(saved(tokenizer, tmp_path, language="hau"))
    assert card == {"language": "hau"}
    assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]


def change_vocabulary(content):
    content["tokenizer"]["model"]["vocab"]["a"] = 10**9


def change_type(content):
    content["tokenizer"]["model"]["vocab"]["a"] = True


def change_merges(content):
    content["tokenizer"]["model"]["merges"] = [["a"]]


def change_many(content):
    content["tokenizer"]["model"]["merges"] *= 99


def change_normalizer(content):
    content["tokenizer"]["normalizer"] = {"type": "Lowercase"}


def change_words(content):
    content["tokenizer"]["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}


def change_added(content):
    content["tokenizer"]["added_tokens"] = [{"id": 1, "content": "a whole sentence"}]


def change_surrogate(content):
    vocabulary = content["tokenizer"]["model"]["vocab"]
    vocabulary["\ud800"] = len(vocabulary)


def change_all(content):
    content["tokenizer"] = []


CHANGES = (change_vocabulary, change_type, change_merges, change_many, change_normalizer, change_words, change_added,
           change_surrogate, change_all)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_is_not_ours_is_refused(tokenizer, tmp_path, change):
    content = json.loads(saved(tokenizer, tmp_path))
    change(content)
    with pytest.raises(ValueError):
        token_costs.read_tokenizer(json.dumps(content).encode())


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"7", b"[" * 300_000, b'{"card": {}}', b" " * 600_000])
def test_what_is_no_tokenizer_file_is_refused(content):
    with pytest.raises(ValueError):
        token_costs.read_tokenizer(content)


def test_mixed_texts_have_the_shares_asked_for():
    parts = [["a" * n for n in range(1, 200)], ["b" * 50] * 10]
    mixed = token_costs.mix_texts(parts, [0.25, 0.75], size=20_000)
    sizes = [sum(map(len, (text for text in mixed if text[0] == letter))) for letter in "ab"]
    assert np.allclose(sizes, [5_000, 15_000], atol=250)


def test_premium_rows_are_sorted_and_english_is_one():
    counts = {"eng": [10, 12, 9], "amh": [50, 70, 44], "hau": [20, 22, 17]}
    rows = token_costs.premium_rows(counts)
    assert rows["language"].tolist() == ["English", "Hausa", "Amharic"]
    assert rows["mean"][0] == 1 and rows["sd"][0] == 0 < rows["sd"][1]


def test_prefill_seconds_is_a_time(assets_ready):
    from leaplm import models

    assert 0 < models.prefill_seconds(8, layers=1, repeats=1) < 60


def test_heldout_sentences_are_the_same_in_every_language_and_not_among_the_students(needs_asset):
    needs_asset("sib200")
    numbers = {}
    for language in ("eng", "amh"):
        rows = data.read_topics(language)["test"]
        numbers[language] = rows[rows.text.isin(data.heldout_sentences(language))].index_id.tolist()
        shown = data.load_sentences(language)
        assert [len(shown[part]) for part in ("train", "validation", "test")] == [701, 99, 96]
        assert not set(data.heldout_sentences(language)) & set(sum(shown.values(), []))
    assert numbers["eng"] == numbers["amh"] and len(numbers["eng"]) == 108


def test_heldout_sentences_of_an_own_file():
    with pytest.raises(ValueError, match="cannot be marked"):
        data.heldout_sentences("mine.csv")
