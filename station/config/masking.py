"""What is secret in a text that others are to read, and the text without it. Pure.

Two ways, both used on everything: what looks like a secret of ours, by its form; and what this host is known to keep
secret, word for word.
"""

import base64
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

MASK = "***"

# Shorter ones would take half of the text with them; where they stand with the user's name they are found all the same.
WORD_MIN = 6

_FORMS = (
    re.compile(r"-----BEGIN (?P<what>[A-Z0-9 ]*PRIVATE KEY[A-Z ]*)-----.*?(?:-----END (?P=what)-----|\Z)", re.S),
    re.compile(r"install-1-[0-9]{1,5}-[0-9a-f]{64}-[0-9a-f]{8,64}(?:-[0-9a-f]{1,8})?"),
    re.compile(r"\bstation-[a-z2-7]{60,}"),  # a join token
    re.compile(r"\bWzEs[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),  # an instance's credential
    re.compile(r"(?i)(?<=\bbearer )[A-Za-z0-9._~+/=-]{20,}|(?<=\bbasic )[A-Za-z0-9+/=]{8,}"),
    # The beginning of an install key's hash, by which it is called in logs.
    re.compile(r"(?<=\bkey=')[0-9a-f]{16}\b|(?<=\"key\": \")[0-9a-f]{16}\b"),
    re.compile(r"(?<=//)[^/\s\"'<>@]+(?=@)"),  # USER:PASSWORD before a host
)  # fmt: skip
_NAMED = r"[A-Za-z0-9_.-]*(?:pass(?:word|wd|phrase)?|secret|token|credential)s?"
# `password = "…"`, a commented one too, up to the end of the line.
_SETTING = re.compile(rf"(?im)^(\s*#?\s*\"?{_NAMED}\"?\s*[=:]\s*).+$")
_USER = re.compile(r"[^\s\"']*(?=@)")
_IS_NAMED = re.compile(rf"(?i){_NAMED}")


def masked(text: str, words: Iterable[str] = ()) -> tuple[str, int]:
    """The text without what is or looks secret, and how many places that were. `words`: see `secret_words`."""
    count = 0
    for word in sorted(words, key=len, reverse=True):
        for written in {word, json.dumps(word)[1:-1]}:
            count += text.count(written)
            text = text.replace(written, MASK)
    for form in _FORMS:
        text, more = form.subn(MASK, text)
        count += more
    return text, count


def masked_toml(text: str) -> str | None:
    """A station.toml without its secrets; None where that is not certain: no TOML, or written in an unusual way."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    result, _ = masked(_SETTING.sub(rf'\1"{MASK}"', text), secret_words(raw))
    result = "\n".join(_without_user(line) for line in result.split("\n"))
    try:
        is_clean = tomllib.loads(result) == _clean(raw)
    except tomllib.TOMLDecodeError:
        return None
    return result if is_clean else None


def masked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as values, without the secrets among them."""
    clean: dict[str, Any] = _clean(settings)
    return clean


def secret_words(settings: Mapping[str, Any]) -> frozenset[str]:
    """What the settings keep secret, in each form in which it may stand elsewhere."""
    found: set[str] = set()
    for name, value in _texts(settings):
        if _IS_NAMED.fullmatch(name):
            found.add(value)
        user, at, _ = value.removeprefix("http://").removeprefix("https://").rpartition("@")
        if at and user:
            plain = unquote(user)
            coded = base64.b64encode(plain.encode()).decode()
            found |= {user, plain, coded, user.partition(":")[2], plain.partition(":")[2]}
    return frozenset(word for word in found if len(word) >= WORD_MIN)


def _clean(value: Any, name: str = "") -> Any:
    """As `masked_toml` has to have it."""
    if isinstance(value, Mapping):
        return {key: _clean(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner, name) for inner in value]
    if _IS_NAMED.fullmatch(name):
        return MASK
    if name == "forward" and isinstance(value, str) and "@" in value:
        scheme = "http://" if value.startswith("http://") else ""
        return f"{scheme}{MASK}@{value.rpartition('@')[2]}"
    return _without_user(value) if isinstance(value, str) else value


def _without_user(text: str) -> str:
    """`http://USER:PASSWORD@HOST` with three stars for the user and the password, wherever it stands."""

    def mask(match: re.Match[str]) -> str:
        scheme, slashes, user = match[0].rpartition("//")
        return f"{scheme}{slashes}{MASK}" if user else match[0]

    return _USER.sub(mask, text)


def _texts(value: Any, name: str = "") -> Iterable[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, name)
    elif isinstance(value, str):
        yield name, value
