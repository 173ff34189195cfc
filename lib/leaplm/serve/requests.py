"""What a request must be: the bytes of its body -> its texts, or a Problem that says what to change."""

import json


class Problem(Exception):
    """An answer that is an error: HTTP status, a short code for programs, a message for people, seconds to wait.

    >>> Problem(503, "queue_full", "too many texts are waiting", retry_after=2).status
    503
    """

    def __init__(self, status, code, message, retry_after=None):
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


def read_texts(body, most_bytes, most_texts, most_characters):
    """The texts (a list of str) in the body (bytes) of a request. Raises a Problem; its message never holds a text.

    413: more than `most_bytes` bytes. 400: not UTF-8, or not JSON. 422: not {"texts": [...]} and nothing else, not 1 to
    `most_texts` strings, or one that is blank, has more than `most_characters` characters, or holds half of a character
    (a lone surrogate, which JSON can write and UTF-8 cannot).

    >>> read_texts(b'{"texts": ["Very good soap.", "No."]}', 1000, 8, 200)
    ['Very good soap.', 'No.']
    >>> read_texts(b'{"texts": ["Very good soap.", ""]}', 1000, 8, 200)
    Traceback (most recent call last):
        ...
    leaplm.serve.requests.Problem: texts[1] is empty
    """
    if len(body) > most_bytes:
        raise Problem(413, "body_too_large", f"the body may have at most {most_bytes} bytes")
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):  # the second: thousands of brackets inside of each other
        raise Problem(400, "not_json", f"the body is not valid JSON in UTF-8; {FORM}") from None
    if not isinstance(found, dict) or set(found) != {"texts"}:
        raise Problem(422, "not_valid", f"texts is missing, or something else is there; {FORM}")
    texts = found["texts"]
    if not isinstance(texts, list):
        raise Problem(422, "not_valid", f"texts should be a list of strings; {FORM}")
    if not 1 <= len(texts) <= most_texts:
        raise Problem(422, "number_of_texts", f"send 1 to {most_texts} texts, not {len(texts)}")
    for i, text in enumerate(texts):
        if fault := fault_of(text, most_characters):
            raise Problem(422, fault[0], f"texts[{i}] {fault[1]}")
    return texts


FORM = 'send {"texts": ["...", "..."]} in UTF-8'


def fault_of(text, most_characters):
    """(code, words) for what is wrong with one text; None if nothing is.

    >>> fault_of("Good soap.", 5)
    ('too_long', 'has 10 characters, the limit is 5')
    """
    if not isinstance(text, str):
        return "not_valid", "should be a string"
    if not text.strip():
        return "empty_text", "is empty"
    if len(text) > most_characters:
        return "too_long", f"has {len(text)} characters, the limit is {most_characters}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not_text", "holds half of a character (a lone surrogate)"
    return None
