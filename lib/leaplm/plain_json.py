"""JSON that somebody else wrote: read with bounds on its depth, its values and its numbers, so that reading costs little.

Files of results, cards and prompts come from students to whoever judges them, and a few MB of JSON can be made that take
gigabytes, or hours. No honest file comes near the bounds.
"""

import json
import re

MOST_VALUES = 1_000_000
MOST_DEPTH = 32
WHOLE = range(-(2**63), 2**64)  # larger ones can be chosen so that a set or a dict of them takes hours to make
BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def read_json(content, most_values=MOST_VALUES):
    """The value of JSON in `content` (bytes or str). ValueError, before it is parsed, if it is not plain enough.

    >>> read_json('{"slope": [2.0, 1e999]}')
    Traceback (most recent call last):
    ...
    ValueError: the JSON has the number 1e999: infinite
    """
    content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    # No more than this: a count is fast, and keeps nothing. Each text has two quotes, and may quote something itself.
    values = max(sum(map(content.count, (b",", b"[", b"{"))), content.count(b'"') // 4)
    if values > most_values:
        raise ValueError(f"the JSON has up to {values:,} values; at most {most_values:,} are possible")
    check_depth(content)
    try:
        return json.loads(content, parse_int=whole_number, parse_float=finite)
    except RecursionError:
        raise ValueError(f"the JSON is deeper than {MOST_DEPTH} levels") from None


def check_depth(content):
    """ValueError if brackets, outside of texts, are nested deeper than MOST_DEPTH."""
    depth = 0
    for found in BRACKET.finditer(content):
        sign = found[0]
        depth += (sign in b"[{") - (sign in b"]}")
        if depth > MOST_DEPTH:
            raise ValueError(f"the JSON is deeper than {MOST_DEPTH} levels")


def whole_number(digits):
    if len(digits) > 20 or int(digits) not in WHOLE:
        raise ValueError(f"the JSON has the number {digits[:20]}…: more than 64 bits")
    return int(digits)


def finite(digits):
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the JSON has the number {digits[:20]}: infinite")
    return number
