"""A diagnostic bundle: its files without secrets, and the manifest that says what each one is. Pure."""

from collections.abc import Iterable, Mapping

from station.config.masking import MASK, masked

MANIFEST = "MANIFEST.txt"
NEVER = (
    "private keys: of the group's CA, of this station, of mirror.sslkey, of gpg",
    "install keys and join tokens, and the hashes that are kept of them",
    "credentials and secrets of instances, and the hashes that are kept of them",
    "the token of the loopback page",
    "passwords: of proxy.forward, and of whatever the settings call one",
    "environments of processes",
)


class Bundle:
    """`head`: the first lines of the manifest. `words`: what this host keeps secret (masking.secret_words)."""

    def __init__(self, head: Iterable[str], words: Iterable[str] = ()) -> None:
        self._head = list(head)
        self._words = frozenset(words)
        self._files: dict[str, str] = {}
        self._what: dict[str, str] = {}
        self._left_out: dict[str, str] = {}

    def add(self, name: str, what: str, text: str) -> None:
        """A file, and what it is for people; secrets in it are masked, and that is said."""
        clean, count = masked(text, self._words)
        places = f" ({count} place{'s' * (count != 1)} masked)" if count else ""
        self._files[name] = clean if clean.endswith("\n") else f"{clean}\n"
        self._what[name] = what + places

    def leave_out(self, name: str, why: str) -> None:
        """A file that would be there if it could."""
        self._left_out[name] = masked(" ".join(why.split()), self._words)[0]

    def left_out(self) -> Mapping[str, str]:
        """Why each file that is missing is missing."""
        return dict(self._left_out)

    def files(self) -> dict[str, bytes]:
        """All files by name, the manifest first."""
        texts = {MANIFEST: self._manifest()} | dict(sorted(self._files.items()))
        return {name: text.encode("utf-8", "replace") for name, text in texts.items()}

    def _manifest(self) -> str:
        width = max(map(len, [*self._what, *self._left_out]), default=0)
        lines = [*self._head, "", "What is in here:"]
        lines += [f"  {name:<{width}}  {what}" for name, what in sorted(self._what.items())]
        lines += ["", "What could not be had, and why:"]
        lines += [f"  {name:<{width}}  {why}" for name, why in sorted(self._left_out.items())]
        lines += [] if self._left_out else ["  nothing"]
        lines += ["", f"What is never in here, {MASK} stands for it where it was:"]
        return "\n".join([*lines, *(f"  {what}" for what in NEVER), ""])
