"""Search in languages that write no spaces between words: by pairs of neighbouring characters.

Sphinx finds Chinese words by a dictionary that it has only where jieba is installed, and its page does not cut what is
typed, so a search finds nothing. Pairs need no dictionary, and the page cuts a question as this module cuts the text.
"""

import re

from sphinx.search import SearchLanguage

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
PART = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")


class SearchChinese(SearchLanguage):
    """Takes the place of Sphinx's own."""

    lang, language_name = "zh", "Chinese"
    js_splitter_code = f"""
var splitQuery = (query) => (query.match(/[{HAN}]+|(?:(?![{HAN}])[\\p{{Letter}}\\p{{Number}}_])+/gu) || []).flatMap((part) =>
  /^[{HAN}]{{2,}}$/u.test(part) ? [...part].slice(1).map((last, i) => [...part][i] + last) : [part]);
"""

    def split(self, input):
        """The words of a text that are cut by spaces, and the pairs of those that are not.

        >>> SearchChinese({}).split("用 LoRA 微调模型")
        ['用', 'LoRA', '微调', '调模', '模型']
        """
        found = []
        for part in PART.findall(input):
            pairs = re.match(f"[{HAN}]", part) and len(part) > 1
            found += [part[i : i + 2] for i in range(len(part) - 1)] if pairs else [part]
        return found

    def stem(self, word):
        return word.lower()
