"""Who may ask, and how often: API keys as salted hashes in a file, and a token bucket for each.

A key is 32 random bytes, so one round of SHA-256 is enough: nobody can try 2^256 keys. (A password that a person chose
would need a slow hash.) The file holds no key, and who reads it cannot ask.
"""

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from leaplm.whole_file import replacing

PREFIX = "leaplm_"


@dataclass(frozen=True)
class Key:
    """One line of a key file. per_minute: requests allowed in a minute, 0 for no limit."""

    name: str
    salt: str
    hash: str
    per_minute: float = 0


def hash_key(key, salt):
    """SHA-256 of salt and key, as hexadecimal digits."""
    return hashlib.sha256(bytes.fromhex(salt) + key.encode("utf-8", "surrogatepass")).hexdigest()


def add_key(path, name, per_minute=0):
    """Make a key, add its hash to the file (only its owner may read it), and return the key: it is shown this once."""
    path, known = Path(path), []
    if path.exists():
        known = read_keys(path)
    if not name or any(key.name == name for key in known):
        raise ValueError(f"the name {name!r} is empty or already in {path}: choose another, or delete its entry first")
    if per_minute < 0:
        raise ValueError(f"per_minute={per_minute} must be 0 (no limit) or more")
    key, salt = PREFIX + secrets.token_urlsafe(32), secrets.token_hex(16)
    known.append(Key(name, salt, hash_key(key, salt), per_minute))
    with replacing(path, permissions=0o600, encoding="utf-8") as file:
        json.dump({"keys": [vars(entry) for entry in known]}, file, indent=1)
    return key


def read_keys(path):
    """The Keys of a file. Raises ValueError that says what is wrong."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"the key file {path} does not exist: make a key with `leaplm add-key NAME --keys {path}`")
    try:
        keys = [Key(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["keys"]]
        for key in keys:
            if len(bytes.fromhex(key.salt)) < 8 or len(bytes.fromhex(key.hash)) != 32 or not key.per_minute >= 0:
                raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"the key file {path} is damaged: it should be what `leaplm add-key` wrote") from None
    if not keys:
        raise ValueError(f"the key file {path} holds no key: make one with `leaplm add-key NAME --keys {path}`")
    return keys


def find_key(given, keys):
    """The Key that a given string is, or None. Takes the same time whichever key it is, and however much of it is right."""
    found = None
    for key in keys:
        if hmac.compare_digest(hash_key(given, key.salt), key.hash):
            found = key
    return found


class TokenBucket:
    """A limit on the rate: `rate` tokens a second flow into a bucket of `capacity`, each request takes one.

    So `capacity` requests may come at once, and in the long run `rate` a second. It starts full. clock: a function () -> the
    time in s; a test gives one of its own, and need not wait.

    >>> times = iter([0, 0, 0, 0, 0.5, 1.0])           # the first is when the bucket is made
    >>> bucket = TokenBucket(rate=1, capacity=2, clock=lambda: next(times))
    >>> [bucket.take() for _ in range(5)]
    [0.0, 0.0, 1.0, 0.5, 0.0]
    """

    def __init__(self, rate, capacity, clock=time.monotonic):
        if not (rate > 0 and capacity >= 1):
            raise ValueError(f"rate={rate} must be above 0 and capacity={capacity} at least 1")
        self.rate, self.capacity, self.clock = rate, capacity, clock
        self.tokens, self.at = float(capacity), clock()

    def take(self):
        """0.0 if a request is allowed now, otherwise the seconds until the next one will be."""
        now = self.clock()
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.rate


class Gate:
    """All keys and their buckets. Without keys everybody may ask, as often as they like (only on loopback)."""

    def __init__(self, keys=(), clock=time.monotonic):
        self.keys = list(keys)
        self.buckets = {key.name: TokenBucket(key.per_minute / 60, max(1, key.per_minute / 6), clock)
                        for key in self.keys if key.per_minute}

    def name(self, given):
        """The name behind a key, "anonymous" where no keys are asked for, None for a wrong or missing key."""
        if not self.keys:
            return "anonymous"
        key = find_key(given, self.keys) if given else None
        return key.name if key else None

    def wait(self, name):
        """0.0 if `name` may ask now, otherwise the seconds to wait."""
        bucket = self.buckets.get(name)
        return bucket.take() if bucket else 0.0
