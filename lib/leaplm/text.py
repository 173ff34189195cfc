"""What a word, a sentence's end and the same text are, in the scripts of the course's languages.

Python's `\\w` ends a word at every vowel sign (हिन्दी -> ह, न, द), and `.!?` end sentences in few scripts; and one letter
can be coded in several ways (ẹ́ as two or as three code points). Here Unicode decides: normal form C (UAX 15), words that
keep their marks (UTS 18, annex C), letters with their signs (UAX 29), Sentence_Terminal.
"""

import unicodedata
from itertools import pairwise

import regex

# Scripts without blanks between words: Thai, Lao, Khmer, Burmese (their line-breaking class is SA), Chinese, Japanese.
# Finding words in them takes large dictionaries. Here a letter with its signs counts as a word, and the pairs of words that
# TF-IDF counts too do the rest. Source: Nie et al., 2000, *On the use of words and n-grams for Chinese information
# retrieval*. Khmer and Burmese stack letters; a Burmese consonant without a vowel, and Thai and Lao vowels written before
# or after their consonant, belong to its syllable.
UNSPACED = r"[\p{Line_Break=SA}\p{Han}\p{Hiragana}\p{Katakana}]"
LETTER = (rf"[\u0E40-\u0E44\u0EC0-\u0EC4]?{UNSPACED}[\p{{M}}ー\u0E30\u0E32\u0E33\u0EB0\u0EB2\u0EB3]*"
          r"(?:(?<=[\u17D2\u1039])\p{L}\p{M}*|[\u1000-\u1021]\u1037?\u103A\p{M}*)*")
# Emoji's joiners and selectors belong to no word.
WORD = (rf"(?!{UNSPACED})[\p{{L}}\p{{N}}_]"
        rf"(?:(?!{UNSPACED})(?:[[\w\p{{N}}]--\p{{Me}}--[\uFE00-\uFE0F\u200C\u200D]]|[\u200C\u200D](?=\p{{L}})))*")
WORDS = regex.compile(f"(?P<letter>{LETTER})|{WORD}", regex.V1)
STARTS = regex.compile(
    rf"[\p{{Ps}}\p{{Pi}}]*{LETTER}(?:(?!{UNSPACED})[^ \w\p{{Ps}}\p{{Pi}}])*|(?:(?!{UNSPACED})[^ ])+", regex.V1)
SENTENCE_END = regex.compile(r"\p{Sentence_Terminal}[\p{Pe}\p{Pf}\"'*]*$")


def normalize(text):
    """What makes two texts 'the same': letter case, white space and the coding of letters (NFC or NFD) aside.

    >>> normalize("Ọjọ́  dára ") == normalize(unicodedata.normalize("NFD", "ọjọ́ dára"))
    True
    """
    return " ".join(unicodedata.normalize("NFC", str(text)).lower().split())


def find_words(text, shortest=2):
    """The words of a text in their order, without punctuation, with their vowel signs and tone marks.

    shortest: of how many letters, digits and marks (scikit-learn too leaves single letters out); in scripts without
    blanks each letter is a word.

    >>> find_words("Ọjọ́ dára, हिन्दी में! 我爱你")
    ['Ọjọ́', 'dára', 'हिन्दी', 'में', '我', '爱', '你']
    """
    return [match[0] for match in WORDS.finditer(text) if len(match[0]) >= shortest or match["letter"]]


def word_starts(text):
    """Where words begin (places in the text): after white space, and in scripts without blanks at every letter.

    The text between two places is a word with the punctuation around it. White space must be single blanks.

    >>> word_starts("Ina kwana?"), word_starts("早上好。你好")
    ([0, 4], [0, 1, 2, 4, 5])
    """
    return [match.start() for match in STARTS.finditer(text)]


def split_words(text):
    """The words of a text with the punctuation around them: `text.split()`, but letters in scripts without blanks.

    >>> split_words("Ina kwana?"), split_words("早上好。你好")
    (['Ina', 'kwana?'], ['早', '上', '好。', '你', '好'])
    """
    text = " ".join(text.split())
    places = [*word_starts(text), len(text)]
    return [text[start:end].rstrip() for start, end in pairwise(places)]


def ends_sentence(text):
    """Whether a text ends with the end of a sentence in any script, closing quotes and brackets aside.

    >>> [ends_sentence(text) for text in ("Na gode.", "ধন্যবাদ।", "አመሰግናለሁ።", "شکریہ۔", "'Gracias!'", "Asante,")]
    [True, True, True, True, True, False]
    """
    return SENTENCE_END.search(text) is not None
