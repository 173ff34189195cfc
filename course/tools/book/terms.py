"""The index of the search in half its bytes: words are grouped by the pages they stand on.

Chinese has twenty thousand pairs of characters: they stand in files of their own, of which a search loads those it needs.
`terms.js` opens the index again in the browser.
"""

import json
import re
from pathlib import Path

from pairs import HAN

START, PARTS = "Search.setIndex(", 16
PAIR = re.compile(f"[{HAN}]{{2}}")


def slim(target):
    """Write the index of a web site anew, if it has one."""
    path = target / "searchindex.js"
    if not path.is_file():
        return
    index = json.loads(path.read_text(encoding="utf-8").strip().removeprefix(START).removesuffix(")"))
    parts = {}
    for pair in filter(PAIR.fullmatch, list(index["terms"])):
        parts.setdefault(ord(pair[0]) % PARTS, {})[pair] = index["terms"].pop(pair)
    for number, terms in parts.items():
        (target / f"searchterms-{number}.js").write_text(f"addTerms({compact(grouped(terms))})", encoding="utf-8")
    index |= {name: grouped(index[name]) for name in ("terms", "titleterms")}
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    path.write_text(f"{script}openIndex({compact(index)}, {sorted(parts)}, {PARTS});\n", encoding="utf-8")


def grouped(terms):
    """{pages, each one sign: words that stand on just these} of {word: page, or pages}.

    >>> grouped({"loss": [0, 2], "seed": 1, "batch": [0, 2]})
    {'02': 'loss batch', '1': 'seed'}
    """
    groups = {}
    for word, pages in terms.items():
        signs = "".join(chr(48 + page) for page in (pages if isinstance(pages, list) else [pages]))
        groups.setdefault(signs, []).append(word)
    return {signs: " ".join(words) for signs, words in groups.items()}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
