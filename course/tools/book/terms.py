"""The index of the search in half its bytes: words are grouped by the pages they stand on, and lie in parts.

There are ten thousand forms of words in Arabic and twenty thousand pairs of characters in Chinese. A search loads the parts
with the first letters of its words, and all where a word is not found whole. `terms.js` does that in the browser.
"""

import json
from pathlib import Path

START, PARTS = "Search.setIndex(", 16


def slim(target):
    """Write the index of a web site anew, if it has one."""
    path = target / "searchindex.js"
    if not path.is_file():
        return
    index = json.loads(path.read_text(encoding="utf-8").strip().removeprefix(START).removesuffix(")"))
    parts = {}
    for word, pages in index.pop("terms").items():
        parts.setdefault(ord(word[0]) % PARTS, {})[word] = pages
    for number, terms in parts.items():
        (target / f"searchterms-{number}.js").write_text(f"addTerms({compact(grouped(terms))})", encoding="utf-8")
    index["titleterms"] = grouped(index["titleterms"])
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
