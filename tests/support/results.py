"""The numbers of a text that may say how something came out, and so must be held by a record or have a reason.

Found are: numbers with a decimal point; whole numbers and number words with a unit in which the course measures (percent,
megabytes, seconds, points, times ...), in `3 of 10`, `39 to 60` and `± 3`; and `twice as`, `half the`.
What is a setting all over the course, or a mark, is taken out of the text first (SETTINGS).
"""

import re

from prose import DECIMAL

WORDS = ("one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|"
         "a hundred|hundred|a thousand|thousand")
NUMBER = rf"(?:(?<![\w.,–])[+−-]?(?:\d[\d,]*\d|\d)(?!\.?\d)|\b(?:{WORDS})\b)"
UNIT = (r"(?:[%‰]|(?:percent|per cent|points?|[MKGk]B|ms|s|milliseconds?|seconds?|minutes?|hours?|days?|weeks?|nats?|times|"
        r"W|watt-hours?|watts?)\b)")
JOINED = r"(?:\s*[-–]\s*|\s+(?:to|and|or)\s+)"
MEASURES = [re.compile(pattern, re.I) for pattern in (
    rf"{NUMBER}(?:{JOINED}{NUMBER})?(?:\s|-)?{UNIT}",
    rf"{NUMBER} (?:of|in|out of) (?:the |its |our |these |all )?{NUMBER}",
    r"±\s?\d+(?![\d.])",
    r"\b(?:twice|half|thrice) (?:as|the|its)\b",
    r"(?<![\w.,])\d[\d,]*\d to \d[\d,]*\d(?!\.?\d)",
)]
SETTINGS = [re.compile(pattern) for pattern in (
    r"\(?(?:\d|half a) points?\)?:",  # a line of a marking guide
    r"[Mm]iddle 95 %", r"95 % intervals?", r"interval of 95 %",
    r"mean (?:macro-F1 )?minus 3 to 5 standard deviations(?: of macro-F1)?", r"mean plus 3 to 5 standard deviations",
    r"199 times in 200",  # the level of a bound on one more run
    r"(?<![\d.,])(?:32|16|8|4)[ -]bits?\b",
)]


def found_in(text):
    """The phrases of cleaned prose that a record or a reason has to hold.

    >>> sorted(found_in("Of 20 draws 18 of 20 gain .05 in 3 seconds. Rank 8, 16 bits."))
    ['.05', '18 of 20', '3 seconds']
    """
    for setting in SETTINGS:
        text = setting.sub(" ", text)
    phrases = set(DECIMAL.findall(text))
    for measure in MEASURES:
        phrases |= {" ".join(match[0].split()) for match in measure.finditer(text)}
    return phrases
