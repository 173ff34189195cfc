"""Words, sentence ends and equal texts in the scripts of the course's languages."""

import re
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm import data, text
from leaplm.evaluation import tfidf_classifier
from leaplm.models import load_sequence_classifier, load_tokenizer
from leaplm.overfitting.regularization import AugmentingCollator
from leaplm.prompting import first_word
from leaplm.responsible.explanations import word_scores
from leaplm.responsible.fairness import without_marks
from leaplm.responsible.memorization import deduplicate

SENTENCES = {  # one text, its words
    "eng": ("I don't like a film of 2024.", "don like film of 2024"),
    "hau": ("Ɗan'uwa, ƙaramin yaro!", "Ɗan uwa ƙaramin yaro"),
    "yor": ("Ọjọ́ dára, bẹ́ẹ̀ ni.", "Ọjọ́ dára bẹ́ẹ̀ ni"),
    "hin": ("हिन्दी में ख़बर।", "हिन्दी में ख़बर"),
    "ben": ("আমি ভালো আছি, ধন্যবাদ।", "আমি ভালো আছি ধন্যবাদ"),
    "amh": ("ሰላም፣ እንዴት ነህ።", "ሰላም እንዴት ነህ"),
    "urd": ("آپ کیسے ہیں؟", "آپ کیسے ہیں"),
    "fas": ("می‌روم خانه", "می‌روم خانه"),
    "zho": ("我爱你。", "我 爱 你"),
    "mya": ("မင်္ဂလာပါ။", "မင်္ဂ လာ ပါ"),
    "khm": ("ខ្ញុំស្រឡាញ់", "ខ្ញុំ ស្រ ឡា ញ់"),
    "tha": ("ไปไหนมา", "ไป ไห น มา"),
    "emoji": ("so good❤️👩‍👩‍👧now 5️⃣", "so good now"),
}
ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MIXED = st.lists(st.sampled_from([words for pair in SENTENCES.values() for words in pair] + [" ", "\n", "“", "?", "。"]),
                 max_size=8).map("".join)


@pytest.mark.parametrize("language", SENTENCES)
def test_a_word_keeps_its_marks(language):
    written, words = SENTENCES[language]
    assert text.find_words(written) == words.split()
    decomposed = unicodedata.normalize("NFD", written)
    assert text.find_words(text.normalize(decomposed)) == text.find_words(text.normalize(written))


@given(st.text(st.characters(max_codepoint=0x24F), max_size=60))
def test_words_in_latin_letters_are_those_of_scikit_learn(written):
    lower = unicodedata.normalize("NFC", written).lower()
    assert text.find_words(lower.replace("\u0307", "")) == re.findall(r"\b\w\w+\b", lower.replace("\u0307", ""))


def test_words_of_the_english_data_are_those_of_scikit_learn(assets_ready):
    """So the records of English need no new run."""
    for domain in data.DOMAINS:
        for written in data.read_all_ratings(domain).text:
            assert text.find_words(text.normalize(written)) == re.findall(r"(?u)\b\w\w+\b", written.lower())


@pytest.mark.parametrize("language", ["hin", "yor", "zho"])
def test_the_baseline_finds_whole_words(language):
    written, words = SENTENCES[language]
    model = tfidf_classifier("words").fit([written, "x y z other"], [0, 1])
    known = set(model[0].vocabulary_)
    assert known >= {text.normalize(word) for word in words.split()}
    assert known == set(tfidf_classifier("words").fit([unicodedata.normalize("NFD", written), "x y z other"],
                                                      [0, 1])[0].vocabulary_)


@given(ANY | MIXED)
def test_a_text_is_itself_however_it_is_coded(written):
    assert text.normalize(unicodedata.normalize("NFD", written)) == text.normalize(unicodedata.normalize("NFC", written))
    assert data.position(unicodedata.normalize("NFD", written)) == data.position(unicodedata.normalize("NFC", written))


@given(ANY | MIXED)
def test_no_letter_is_lost_between_words(written):
    assert "".join(text.split_words(written)) == "".join(written.split())
    letters = r"[^\W_]"
    assert "".join(re.findall(letters, "".join(text.find_words(written, 1)))) == "".join(re.findall(letters, written))


@settings(max_examples=200)
@given(ANY | MIXED)
def test_two_halves_make_the_text(written):
    first, second = data.cut_in_two(written)
    flat = " ".join(written.split())
    assert flat in (first + second, f"{first} {second}")
    assert len(text.split_words(written)) < 2 or (first and second)


@pytest.mark.parametrize(("first", "second"), [
    ("আমি এসেছি।", "তুমি কোথায় আছ"), ("ሰላም ነው።", "እንዴት ነህ ወንድሜ"), ("آپ کیسے ہیں؟", "میں ٹھیک ہوں"), ("早上好。", "你好吗"),
    ("မင်္ဂလာပါ။", "နေကောင်းလား"), ("He said “yes.”", "We went home"), ("Ka zo?!", "Na gode sosai")])
def test_texts_are_cut_at_the_end_of_a_sentence(first, second):
    assert data.cut_in_two(f"{first} {second}") == (first, second)
    assert text.ends_sentence(first) and not text.ends_sentence(second)


def test_pairs_are_made_in_scripts_without_blanks():
    pairs = data.sentence_pairs([f"今天天气很好。我们去公园{number}" for number in "一二三四"])
    assert len(pairs) == 4 and all(first == "今天天气很好。" for first, *_ in pairs)


def test_near_duplicates_and_answers_in_other_scripts():
    assert deduplicate(["बहुत अच्छी फ़िल्म", unicodedata.normalize("NFD", "बहुत अच्छी फ़िल्म!"), "बहुत बुरी किताब"]) == [0, 2]
    assert [first_word(answer) for answer in ("सकारात्मक।", "**积极**", "_Búburú_ ni", "👍️ Ọ̀rọ̀")] == \
        ["सकारात्मक", "积极", "búburú", "ọ̀rọ̀"]


def test_accents_go_and_vowel_signs_stay():
    assert without_marks("Ọjọ́ dára, हिन्दी, مُحَمَّد") == "Ojo dara, हिन्दी, محمد"


def test_noise_and_explanations_take_the_words_of_scripts_without_blanks(assets_ready):
    class Tokens:
        def __call__(self, texts, **settings):
            return {"input_ids": [text.split() for text in texts]}

    torch.manual_seed(0)
    [row] = AugmentingCollator(Tokens(), list, rate=0.5)([{"text": "今天天气很好"}])
    assert 1 < len(row["input_ids"]) < 6
    model, tokenizer = load_sequence_classifier(["a", "b"]), load_tokenizer()
    words, scores = word_scores(model, tokenizer, "今天天气很好。", target=0, method="gradient x input")
    assert words == ["今", "天", "天", "气", "很", "好。"] and len(scores) == 6 and scores.any()
