"""Personal data in texts: found, replaced, and how well."""

import functools
import re
import unicodedata

import regex
from phonenumbers import PhoneNumberFormat, PhoneNumberMatcher, format_number

# A text is searched as `as_typed` gives it. OTHER stands for a letter that is not Latin: Chinese or Amharic text may touch a
# number or an address without a blank, so such a letter ends it. GONE stands for what is found already.
OTHER, GONE = "\ue000", "\ue001"
# In this order: an address is not a handle, a link may hold digits, and a national number is longer than a phone's group.
PRIVATE = (
    ("URL", rf"(?<!\w)(?:https?://|www\.)(?:{OTHER}[^\s<>\"]*[\w/{OTHER}]|"
            rf"[^\s<>\"{OTHER}]*[\w/](?:(?<=[/=]){OTHER}[\w{OTHER}/%-]*)?)"),
    ("EMAIL", rf"(?:(?<![\w.+-])[\w.+-]+|[{OTHER}.+_-]*{OTHER})@(?:[\w-]+(?:\.[\w-]+)+|[{OTHER}-]+(?:\.[{OTHER}\w-]+)+)"),
    ("HANDLE", rf"(?<![\w@])@(?:\w{{2,}}|[{OTHER}_]{{2,}})"),
    ("PHONE", r"(?<![\w+])(?:\+|00)\d{1,3}(?:[ -]?\d{2,5}){2,5}(?!\w)"),
    ("PHONE", r"(?<!\w)0\d{2,4}(?:[ -]?\d{2,6}){2,3}(?!\w)"),
    ("PHONE", r"(?<!\w)9\d{2}[ -]?\d{3}[ -]?\d{3}(?!\w)"),
    ("ID", r"(?<!\w)[A-Z]?\d{8,17}(?!\w)"),
    ("ID", r"(?<!\w)(?!(?:(?:19|20)\d\d[ -]?)+(?!\d))\d{4}([ -])\d{4}(?:\1\d{4}){1,2}(?!\w)"),  # but years stay
)
DATE = r"(?<![\w/.-])(?:\d{1,2}([/.-])\d{1,2}\1\d{2,4}|\d{4}([/.-])\d{1,2}\2\d{1,2})(?!\w)"
THOUSANDS = r"\d{1,3}(?: \d{3})+"
# The countries of the course's languages and their neighbours, whose numbers are found without their country's number too.
REGIONS = ("NG", "KE", "TZ", "ET", "GH", "UG", "RW", "ZA", "CM", "SN", "CD", "BD", "IN", "PK", "NP", "LK", "KH", "MM", "TH",
           "VN", "PH", "ID", "CN", "PE", "BO", "EC", "BR", "MX", "ES", "PT", "FR", "GB")
KINDS = {"Zs": " ", "Pd": "-", "Cf": "", "Mn": "mark", "Mc": "mark", "Me": "mark"}  # Unicode's general categories


def redact(text):
    """Put [URL], [EMAIL], [HANDLE], [PHONE] and [ID] in the place of personal data, before a text leaves the machine.

    Phones: as the countries of the course write them, with or without the country's number (libphonenumber knows how),
    and the forms of Nigeria, Kenya, Bangladesh and Peru even where no such number is given out. ID: 8 to 17 digits in a
    row, or groups of four. Digits of all scripts count, and so do blanks and hyphens that do not break.
    Names of people are not found: that needs a person, or a model that finds names in the language at hand.

    >>> redact("Call Amina on 0803 123 4567 or write to amina@shop.ng")
    'Call Amina on [PHONE] or write to [EMAIL]'
    >>> redact("ফোন ০১৭১২-৩৪৫৬৭৮, 电话(0803) 123-4567谢谢")
    'ফোন [PHONE], 电话[PHONE]谢谢'
    """
    typed, places = as_typed(text)
    found, done = find_private(typed), 0
    pieces = []
    for start, end, name in sorted(found):
        first, last = places[start], places[end - 1] + 1
        while last < len(text) and unicodedata.category(text[last])[0] == "M":
            last += 1  # the marks of the last letter
        pieces += [text[done:first], f"[{name}]"]
        done = last
    return "".join([*pieces, text[done:]])


def find_private(typed):
    """(start, end, kind) of the personal data in a text as `as_typed` gives it; they do not overlap."""
    found = []

    def take(spans, name):
        nonlocal typed
        for start, end in spans:
            found.append((start, end, name))
            typed = typed[:start] + GONE * (end - start) + typed[end:]

    for place, (name, pattern) in enumerate(PRIVATE):
        if name == "PHONE" and PRIVATE[place - 1][0] != "PHONE":
            take(find_phones(typed), name)
        take([match.span() for match in re.finditer(pattern, typed)], name)
    return found


def find_phones(typed):
    """(start, end) of the phone numbers that are valid in one of REGIONS."""
    typed, found = re.sub(DATE, lambda match: GONE * len(match[0]), typed), {}
    if sum(letter.isdigit() for letter in typed) < 7:
        return []
    for region in REGIONS:
        for match in PhoneNumberMatcher(typed, region):
            if is_phone(match):
                found[match.start] = max(match.end, found.get(match.start, 0))
    spans, end = [], 0
    for start in sorted(found):
        if start >= end:
            spans.append((start, end := found[start]))
    return spans


def is_phone(match):
    """Whether a match of libphonenumber is no amount: it begins with + or 0, or has the groups of its country's phones."""
    raw = match.raw_string
    if re.match(r"\(?(?:\+|0(?![.,]))", raw):
        return True
    usual = format_number(match.number, PhoneNumberFormat.NATIONAL).lstrip("0")
    groups, usual = re.findall(r"\d+", raw), re.findall(r"\d+", usual)
    return len(groups) > 1 and groups == usual and not re.fullmatch(THOUSANDS, raw)


def as_typed(text):
    """(typed, places): a text as a plain keyboard would give it, and the place in the text of each of its letters.

    Digits of all scripts become 0 to 9, blanks and hyphens of all kinds the plain ones, wide signs narrow, letters that
    are not Latin OTHER; invisible letters and the marks of digits (keycaps) go.

    >>> as_typed("０৮\u2011৯\u2060 é 电")
    ('08-9 é \ue000', [0, 1, 2, 3, 5, 6, 7, 8])
    """
    typed, places = [], []
    for place, letter in enumerate(text):
        plain = plain_letter(letter)
        if plain == "mark":
            before = typed[-1] if typed else " "
            plain = OTHER if before == OTHER else "_" if before.isalpha() or before == "_" else ""
        if plain:
            typed.append(plain)
            places.append(place)
    return "".join(typed), places


@functools.lru_cache(maxsize=4096)
def plain_letter(letter):
    """One letter for `as_typed`; "" for an invisible one, "mark" for one that belongs to the letter before it."""
    if letter.isascii():
        return letter
    kind = unicodedata.category(letter)
    if kind == "Nd":
        return str(unicodedata.decimal(letter))
    if "\uff01" <= letter <= "\uff5e":
        return chr(ord(letter) - 0xFEE0)
    if kind[0] == "L":
        return letter if regex.match(r"\p{Latin}", letter) else OTHER
    return "-" if letter == "−" else KINDS.get(kind, letter)


PHONES = {  # as people write them; each # is a random digit
    "Nigeria": ("0803 ### ####", "+234 803 ### ####", "0706-###-####", "0803#######"),
    "Kenya": ("0712 ### ###", "+254 712 ### ###", "0722######"),
    "Bangladesh": ("01712-######", "+880 1712-######", "01712######"),
    "Peru": ("984 ### ###", "+51 984 ### ###", "984-###-###"),
}
IDENTITIES = ("NIN ###########", "ID no ########", "NID #############", "passport A########")
HARMLESS = ("1,500 naira", "250 000 shillings", "at 10:30", "12/05/2024", "in 2024", "45 %", "3 of 4 bags", "stall 117",
            "size 38-40", "email me", "100 soles")


def private_message(rng):
    """A made-up message as (text, secrets, harmless): strings that must go, and strings that must stay.

    rng: numpy's generator. Each message has two secrets of different kinds and two harmless strings.
    """
    def digits(pattern):
        return re.sub("#", lambda _: str(rng.integers(10)), pattern)

    def name():
        return "".join(rng.choice(list("bdgkmntz")) + rng.choice(list("aeiou")) for _ in range(4))

    country = rng.choice(list(PHONES))
    word, number = rng.choice(IDENTITIES).rsplit(" ", 1)
    kinds = {
        "call {}": digits(rng.choice(PHONES[country])),
        "write to {}": f"{name()}@{name()}.{rng.choice(['ng', 'co.ke', 'com.bd', 'pe'])}",
        "see {}": f"{rng.choice(['https://', 'www.'])}{name()}.com/{name()}",
        "ask {}": f"@{name()}_{rng.integers(10, 99)}",
        f"my {word} is {{}}": digits(number),
    }
    asks, kept = rng.choice(list(kinds), 2, replace=False), rng.choice(HARMLESS, 2, replace=False)
    parts = [ask.format(kinds[ask]) for ask in asks]
    text = f"Please {parts[0]}, {kept[0]}, or {parts[1]}; {kept[1]}, thank you."
    return text, [kinds[ask] for ask in asks], kept.tolist()


def redaction_scores(redact, messages):
    """(recall, precision) on messages (text, secrets, harmless): secrets hidden, and what was hidden that had to be.

    A secret is hidden when no word or number of it with three characters or more is left.
    """
    hidden = total = destroyed = 0
    for text, secrets, harmless in messages:
        left = redact(text)
        hidden += sum(not any(piece in left for piece in re.findall(r"\w{3,}", secret)) for secret in secrets)
        total, destroyed = total + len(secrets), destroyed + sum(piece not in left for piece in harmless)
    return hidden / total, hidden / max(1, hidden + destroyed)
