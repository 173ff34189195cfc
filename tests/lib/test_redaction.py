"""Personal data goes, whatever letters stand beside it and whatever script its digits are of; all else stays."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from leaplm import prompting


@pytest.mark.parametrize(("text", "wanted"), [
    ("My number is +234 803 123 4567.", "My number is [PHONE]."),
    ("0803-123-4567", "[PHONE]"),
    ("Piga 0712 345 678 au +254712345678", "Piga [PHONE] au [PHONE]"),
    ("Dhaka: 01712-345678, +880 1712 345678", "Dhaka: [PHONE], [PHONE]"),
    ("Cusco 984 123 456 o +51 984 123 456", "Cusco [PHONE] o [PHONE]"),
    ("see https://shop.ng/a?b=1 and www.duka.co.ke.", "see [URL] and [URL]."),
    ("write to a.b+c@mail.example.bd", "write to [EMAIL]"),
    ("ask @amina_k now", "ask [HANDLE] now"),
    ("NIN 12345678901", "NIN [ID]"),
    ("It cost 1,500 naira in 2024, 3 times.", "It cost 1,500 naira in 2024, 3 times."),
    ("Call (0803) 123-4567 now", "Call [PHONE] now"),
    ("+234 (0)803 123 4567 or 0803.123.4567", "[PHONE] or [PHONE]"),
    ("هاتف ٠٣٠٠١٢٣٤٥٦٧", "هاتف [PHONE]"),
    ("ফোন ০১৭১২-৩৪৫৬৭৮।", "ফোন [PHONE]।"),
    ("फ़ोन ९८७६५ ४३२१० पर", "फ़ोन [PHONE] पर"),
    ("电话：138 1234 5678，谢谢", "电话：[PHONE]，谢谢"),
    ("\u202a+234 803 123 4567\u202c", "\u202a[PHONE]\u202c"),
    ("0️⃣8️⃣0️⃣3️⃣1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣7️⃣", "[PHONE]"),
    ("Aadhaar 1234 5678 9012", "Aadhaar [ID]"),
    ("አሚና@ሱቅ.ኢት ወይም @አሚና_ካኖ", "[EMAIL] ወይም [HANDLE]"),
    ("https://am.wikipedia.org/wiki/ሰላም ነው", "[URL] ነው"),
    ("ＡＢ＠shop.ng", "[EMAIL]"),
    ("1990 1991 1992, 2019-2024, 712 000 000 francs", "1990 1991 1992, 2019-2024, 712 000 000 francs"),
    ("0.123 456 7890 kg", "0.123 456 7890 kg"),
    ("On 12-05-2024 at 10:30 we sold 250 000 bags", "On 12-05-2024 at 10:30 we sold 250 000 bags"),
])
def test_redaction(text, wanted):
    assert prompting.redact(text) == wanted
    assert prompting.redact(wanted) == wanted


SECRETS = {"0803 123 4567": "PHONE", "(0712) 345-678": "PHONE", "+880 1712-345678": "PHONE", "+234 (0)803 123 4567": "PHONE",
           "984 123 456": "PHONE", "A12345678": "ID", "amina@shop.ng": "EMAIL", "@amina_k": "HANDLE",
           "www.duka.co.ke/a1": "URL"}
SCRIPTS = [("ሰላም", "ነው"), ("电话", "谢谢"), ("नमस्ते", "पर"), ("ফোন", "এ"), ("سلام", "پر"), ("ဖုန်း", "ပါ"), ("ទូរស័ព្ទ", "បាន")]
ZEROS = "0०০๐០၀٠۰０"
BLANKS, HYPHENS = " \u00a0\u202f\u2009", "-\u2010\u2011\u2013−"


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("beside", SCRIPTS)
def test_letters_of_other_scripts_touch_what_goes_and_stay(secret, beside):
    before, after = beside
    assert prompting.redact(before + secret + after) == f"{before}[{SECRETS[secret]}]{after}"


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([secret for secret, kind in SECRETS.items() if kind in ("PHONE", "ID")]), st.sampled_from(ZEROS),
       st.sampled_from(BLANKS), st.sampled_from(HYPHENS), st.sampled_from(SCRIPTS))
def test_digits_blanks_and_hyphens_of_all_kinds(secret, zero, blank, hyphen, beside):
    written = "".join(chr(ord(zero) + int(letter)) if letter.isdigit() else letter for letter in secret)
    written = written.replace(" ", blank).replace("-", hyphen)
    assert prompting.redact(f"{beside[0]} {written}{beside[1]}") == f"{beside[0]} [{SECRETS[secret]}]{beside[1]}"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Co", "Nd"], exclude_characters="@＠.．/／"), max_size=60))
def test_a_text_without_digits_and_addresses_stays_as_it_is(text):
    assert prompting.redact(text) == text
    assert prompting.redact(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFD", text)


def test_redaction_finds_what_the_course_makes_up():
    rng = np.random.default_rng(0)
    messages = [prompting.private_message(rng) for _ in range(400)]
    assert prompting.redaction_scores(prompting.redact, messages) == (1.0, 1.0)
    assert prompting.redaction_scores(str, messages) == (0.0, 0.0)
    assert prompting.redaction_scores(lambda text: "", messages)[1] == 0.5
