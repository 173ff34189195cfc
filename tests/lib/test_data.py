"""Splits that never leak, errors that help, batches with little padding."""

import unicodedata

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm import data, fewshot
from leaplm.grading.judge.tiny_models import tiny_classifier
from transformers import DataCollatorWithPadding


def frame(count=400):
    return pd.DataFrame({"text": [f"sentence number {i}" for i in range(count)], "label": ["no", "yes"] * (count // 2)})


def test_split_covers_all_and_no_text_lies_on_two_sides():
    rows = pd.concat([frame(), frame().assign(text=lambda r: r.text.str.upper() + " ")])  # the same texts in capitals
    parts = data.split(rows)
    texts = [data.normalize(text) for part in parts.values() for text in part.text]
    assert len(texts) == len(set(texts)) == 400
    shares = {name: len(part) / 400 for name, part in parts.items()}
    assert all(abs(shares[name] - share) < 0.06 for name, share in data.SHARES.items())


def test_split_does_not_move_when_rows_are_added():
    few, many = data.split(frame(200)), data.split(frame(400))
    for name in few:
        assert set(few[name].text) <= set(many[name].text)


def test_english_has_two_classes_and_no_shared_sentence(assets_ready):
    parts = data.sentiment_frames("eng")
    texts = pd.concat(parts.values()).text.map(data.normalize)
    assert not texts.duplicated().any() and len(texts) > 10_000
    loaded = data.load_sentiment("eng")
    assert set(loaded) == {"train", "validation", "test"}
    assert loaded["train"].features["label"].names == ["negative", "positive"]


@pytest.mark.parametrize("domain", data.DOMAINS)
def test_every_english_domain_loads(assets_ready, domain):
    rows = data.read_ratings(domain)
    assert len(rows) > 2_900 and set(rows.label) == {"negative", "positive"}


@pytest.mark.parametrize("language", data.AFRISENTI)
def test_afrisenti_has_three_classes_and_no_shared_sentence(needs_asset, language):
    needs_asset("afrisenti")
    texts = pd.concat(data.sentiment_frames(language).values()).text.map(data.normalize)
    assert not texts.duplicated().any()
    assert data.load_sentiment(language)["train"].features["label"].names == ["negative", "neutral", "positive"]


def test_heldout_rows_are_not_among_the_students(assets_ready):
    heldout = {data.normalize(text) for text in data.heldout_rows("eng")["text"]}
    seen = {data.normalize(text) for part in data.load_sentiment("eng").values() for text in part["text"]}
    assert len(heldout) == 600 and not heldout & seen
    with pytest.raises(ValueError, match="cannot be marked"):
        data.heldout_rows("mine.csv")


def test_own_csv(tmp_path):
    path = tmp_path / "mine.csv"
    frame().to_csv(path, index=False, encoding="utf-8-sig")
    loaded = data.load_sentiment(str(path))
    assert loaded["train"].features["label"].names == ["no", "yes"] and len(loaded["train"]) > 200


def test_copies_of_a_text_are_left_out_and_told(tmp_path, capsys):
    rows = frame(60)
    rows.loc[59] = ["Sentence  NUMBER 0", "yes"]  # the text of the first row, with another label
    rows.to_csv(tmp_path / "mine.csv", index=False)
    parts = data.sentiment_frames(tmp_path / "mine.csv")
    assert sum(map(len, parts.values())) == 59
    assert "1 rows have the same text as an earlier row" in (said := capsys.readouterr().out)
    assert "1 of these texts have two labels" in said


def test_texts_in_two_forms_never_lie_on_two_sides(tmp_path):
    """Yoruba from two keyboards: half of the file in normal form C, the same texts again in form D."""
    texts = [f"Ọjọ́ {number} dára púpọ̀, bẹ́ẹ̀ ni" for number in range(60)]
    rows = pd.DataFrame({"text": texts, "label": ["rere", "búburú"] * 30})
    apart = rows.map(lambda cell: unicodedata.normalize("NFD", cell))
    pd.concat([rows, apart]).to_csv(tmp_path / "mine.csv", index=False)
    parts = data.sentiment_frames(tmp_path / "mine.csv")
    assert sorted(text for part in parts.values() for text in part.text) == sorted(texts)
    assert set(pd.concat(parts.values()).label) == {"rere", "búburú"}


def test_unknown_language_domain_and_file_are_clear_errors():
    with pytest.raises(ValueError, match="LANGUAGE='xx'"):
        data.load_sentiment("xx")
    with pytest.raises(ValueError, match="domain='news'"):
        data.load_sentiment("eng", "news")
    with pytest.raises(FileNotFoundError, match="beside the notebook"):
        data.load_sentiment("absent.csv")


def dataset(count=90):
    labels = ["a", "b", "b"] * (count // 3)
    rows = pd.DataFrame({"text": [f"t {i}" for i in range(count)], "label": labels})
    return data.to_dataset_dict({"train": rows})["train"]


def test_subsample_keeps_the_proportions():
    some = data.subsample(dataset(), 30, seed=1)
    assert len(some) == 30 and np.bincount(some["label"]).tolist() == [10, 20]
    assert some["text"] != data.subsample(dataset(), 30, seed=2)["text"]
    assert len(data.subsample(dataset(), 10_000)) == 90


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_subsample_of_any_rows_and_size_holds_every_class(labels, drawn):
    """Also where a class has one row, and where fewer rows than classes are left over."""
    names, rows = sorted(set(labels)), numbered(labels)
    size = drawn.draw(st.integers(1, len(labels) + 3))
    some = data.subsample(rows, size, seed=drawn.draw(st.integers(0, 9)))
    assert len(set(some["text"])) == len(some) == min(max(size, len(names)), len(labels))
    assert sorted(set(some["label"])) == names
    shares = [some["label"].count(name) / len(some) - labels.count(name) / len(labels) for name in names]
    assert max(map(abs, shares)) <= len(names) / len(some)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(0, 9))
def test_halves_of_any_rows_are_equal_and_lose_none(labels, seed):
    """Also where a class has one row: it is in the first half, and no class is in the second half alone."""
    first, second = data.halves(numbered(labels), seed)
    assert sorted([*first["text"], *second["text"]]) == sorted(map(str, range(len(labels))))
    assert set(second["label"]) <= set(first["label"]) == set(labels)
    if len(labels) >= 2 * len(set(labels)):
        assert abs(len(first) - len(second)) <= 1


def numbered(labels):
    features = Features({"text": Value("string"), "label": ClassLabel(names=[f"class {c}" for c in range(5)])})
    return Dataset.from_dict({"text": [str(place) for place in range(len(labels))], "label": labels}, features)


@settings(max_examples=50)
@given(st.lists(st.integers(20, 60), min_size=2, max_size=12), st.integers(0, 10**6))
def test_every_part_of_a_small_file_has_every_class(counts, salt):
    """And no row is lost but those held out, none lies in two parts; the draw of all other rows is as ever."""
    rows = pd.DataFrame([(f"{salt} {label} {i}", f"class {label}") for label, count in enumerate(counts)
                         for i in range(count)], columns=["text", "label"])
    plain = data.split(rows)
    parts = data.with_every_class(plain)
    for name in ("train", "validation", "test"):
        assert set(parts[name].label) == set(rows.label)
    assert sorted(text for part in parts.values() for text in part.text) == sorted(rows.text)
    assert set(plain["test"].text) <= set(parts["test"].text) and set(parts["train"].text) <= set(plain["train"].text)


def test_sample_few_shot_gives_so_many_of_each_class():
    assert np.bincount(data.sample_few_shot(dataset(), 4)["label"]).tolist() == [4, 4]
    with pytest.raises(ValueError, match="class 'a' has 30 rows"):
        data.sample_few_shot(dataset(), 31)


def test_collator_equals_the_one_of_transformers(assets_ready):
    from leaplm.models import load_tokenizer

    tokenizer = load_tokenizer()
    rows = data.tokenize(data.subsample(data.load_sentiment("eng")["test"], 9), tokenizer)
    ours = data.DynamicPaddingCollator(tokenizer.pad_token_id)(rows)
    theirs = DataCollatorWithPadding(tokenizer)(rows)
    assert set(ours) == {"input_ids", "attention_mask", "labels"}
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name])


def test_letters_that_a_tokenizer_does_not_know_are_said(assets_ready, capsys):
    from leaplm.models import load_tokenizer

    amharic = Dataset.from_dict({"text": ["ፊልሙ በጣም ጥሩ ነው", "አልወደድኩትም"], "label": [1, 0]})
    ways = (lambda: data.tokenize(amharic, load_tokenizer()), lambda: data.tokenize_texts(amharic["text"], load_tokenizer()),
            lambda: fewshot.embed(tiny_classifier(vocab_size=30522).bert, load_tokenizer(), amharic["text"]))
    for way in ways:
        way()
        assert "of the tokens are [UNK]" in capsys.readouterr().out
    data.tokenize(dataset(), load_tokenizer())
    data.tokenize(dataset(), load_tokenizer("smollm2"))
    assert "Careful" not in capsys.readouterr().out


def test_sampler_gives_every_row_once_in_an_order_that_repeats():
    lengths = np.random.default_rng(0).integers(3, 60, size=1003)
    sampler = data.LengthBucketSampler(lengths, batch_size=16, seed=3)
    first = list(sampler)
    assert sorted(i for batch in first for i in batch) == list(range(1003))
    assert len(first) == len(sampler) and list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_shuffled_batches_are_those_of_the_epochs_order():
    sampler = data.ShuffledSampler([10, 3, 5, 4, 4], batch_size=2, seed=3)
    for epoch in (0, 1):
        sampler.set_epoch(epoch)
        assert sum(sampler, []) == data.shuffled_rows(5, seed=3, epoch=epoch).tolist()
        assert [len(batch) for batch in sampler] == [2, 2, 1] and len(sampler) == 3
    assert sorted(data.shuffled_rows(5, 3, 0)) == [0, 1, 2, 3, 4]
    assert not np.array_equal(data.shuffled_rows(50, 3, 0), data.shuffled_rows(50, 3, 1))


def test_sampler_leaves_little_padding():
    lengths = np.random.default_rng(0).integers(3, 60, size=1000)
    batches = list(data.LengthBucketSampler(lengths, batch_size=16))
    padded = sum(len(batch) * max(lengths[batch]) for batch in batches)
    assert 1 - lengths.sum() / padded < 0.06  # random batches of such texts are half padding


def test_topics_are_the_same_sentences_in_every_language(needs_asset):
    needs_asset("sib200")
    english, swahili = data.load_topics("eng"), data.load_topics("swa")
    for part, size in (("train", 701), ("validation", 99), ("test", 204)):
        assert len(english[part]) == size
        assert english[part]["label"] == swahili[part]["label"]
    assert len(english["train"].features["label"].names) == 7


def test_topics_of_an_unknown_language():
    with pytest.raises(ValueError, match="has no topics"):
        data.load_topics("xyz")


def test_group_texts_loses_no_token_and_pads_none():
    rows = [{"input_ids": [1, *range(10, 10 + n), 2]} for n in (3, 5, 1, 8)]
    blocks = data.group_texts(rows, 6, (1, 2))
    assert all(len(block["input_ids"]) == 6 for block in blocks[:-1])
    assert all(block["input_ids"][0] == 1 for block in blocks)
    joined = [token for block in blocks for token in block["input_ids"][1:]]
    assert joined == [token for row in rows for token in row["input_ids"][1:]]
    with pytest.raises(ValueError, match="block_size=1"):
        data.group_texts(rows, 1, (1, 2))


def test_sentence_pairs_are_half_and_half_and_each_part_occurs_once():
    texts = [f"first{i} a b c. second{i} d e f" for i in range(101)] + ["too short"]
    pairs = data.sentence_pairs(texts, seed=3)
    assert len(pairs) == 101
    assert len({second for _, second, _ in pairs}) == 101
    for first, second, follows in pairs:
        same = first.split()[0].removeprefix("first") == second.split()[0].removeprefix("second")
        assert same == bool(follows)
    assert sum(follows for *_, follows in pairs) == 51
    assert pairs == data.sentence_pairs(texts, seed=3) != data.sentence_pairs(texts, seed=4)


def test_sentence_pairs_need_texts():
    with pytest.raises(ValueError, match="at least 4"):
        data.sentence_pairs(["one two"] * 9)


@pytest.mark.parametrize("text, first", [
    ("It rained. We stayed at home today", "It rained."), ("one two three four five six", "one two three"),
    ("Yes. " + "word " * 20, "Yes. " + "word " * 9 + "word")])
def test_cut_in_two(text, first):
    got, rest = data.cut_in_two(text)
    assert got == first.strip() if "Yes" not in text else got.startswith("Yes. word")
    assert f"{got} {rest}" == " ".join(text.split())


def test_the_english_corpus_holds_no_text_that_a_lab_tests_on(assets_ready):
    corpus = data.load_corpus("eng")
    assert len(corpus["train"]) > 11_000
    seen = set(map(data.normalize, corpus["train"]["text"]))
    for domain in data.DOMAINS:
        frames = data.sentiment_frames("eng", domain)
        for part in ("validation", "test", "heldout"):
            assert not seen & set(frames[part].text.map(data.normalize))


def test_batches_do_not_follow_another_order_of_the_same_seed():
    """Labels drawn by a permutation of seed 0 must not end up sorted into batches of one class."""
    labels = np.zeros(640, dtype=int)
    labels[np.random.default_rng(0).permutation(640)[:320]] = 1
    batches = list(data.LengthBucketSampler([10] * 640, 16, seed=0))
    assert all(0.1 < labels[batch].mean() < 0.9 for batch in batches)
