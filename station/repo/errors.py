"""What is wrong with a repository, in words an administrator can act upon."""

VALUE_SHOWN_MAX = 120  # characters of hostile input that one message may repeat


class RepoError(ValueError):
    """The repository is malformed or unsafe. Nothing was accepted from it; what is served stays as it was.

    `field` names the element (`primary location`), `value` is what was found, `cure` says what would be accepted.
    """

    def __init__(self, field: str, value: object, cure: str) -> None:
        shown = repr(value)
        if len(shown) > VALUE_SHOWN_MAX:
            shown = shown[:VALUE_SHOWN_MAX] + "…"
        super().__init__(f"{field}: {shown}: {cure}")
        self.field = field
        self.value = value
        self.cure = cure
