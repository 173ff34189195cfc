"""Personal data in texts: found, replaced, and how well."""

import re

# In this order: an address is not a handle, a link may hold digits, and a national number is longer than a phone's group.
PRIVATE = (
    ("URL", r"\b(?:https?://|www\.)[^\s<>\"]*[\w/]"),
    ("EMAIL", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    ("HANDLE", r"(?<![\w@])@\w{2,}"),
    ("PHONE", r"(?<![\w+])(?:\+|00)\d{1,3}(?:[ -]?\d{2,5}){2,5}(?!\w)"),
    ("PHONE", r"(?<!\w)0\d{2,4}(?:[ -]?\d{2,6}){2,3}(?!\w)"),
    ("PHONE", r"(?<!\w)9\d{2}[ -]?\d{3}[ -]?\d{3}(?!\w)"),
    ("ID", r"(?<!\w)[A-Z]?\d{8,17}(?!\w)"),
)


def redact(text):
    """Put [URL], [EMAIL], [HANDLE], [PHONE] and [ID] in the place of personal data, before a text leaves the machine.

    Phones: as written in Nigeria, Kenya, Bangladesh and Peru, with or without the country's number. ID: 8 to 17 digits in
    a row. Names of people are not found: that needs a person, or a model that finds names in the language at hand.

    >>> redact("Call Amina on 0803 123 4567 or write to amina@shop.ng")
    'Call Amina on [PHONE] or write to [EMAIL]'
    """
    for name, pattern in PRIVATE:
        text = re.sub(pattern, f"[{name}]", text)
    return text


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
