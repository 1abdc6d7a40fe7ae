"""A patched station.toml says what was asked for, and keeps everything else as it was."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.config.patch import Value, patch_toml

TEXT = """\
# the north wing
name = "A"   # of this host

[proxy]
hosts = [   # who may
  "10.0.0.0/8",
]
enabled = true

[mirror]
directory = "/mnt/mirror"
"""


def test_a_value_of_several_lines_is_replaced_and_the_rest_stays() -> None:
    text = patch_toml(TEXT, {"proxy.hosts": ["192.0.2.0/24"]})
    before, _, after = TEXT.partition('hosts = [   # who may\n  "10.0.0.0/8",\n]\n')
    assert text == before + 'hosts = ["192.0.2.0/24"]\n' + after


@pytest.mark.parametrize(
    ("key", "value"),
    [("description", "x"), ("proxy.forward", "o:1"), ("admin.listen", "127.0.0.1:1")],
)
def test_a_new_key_goes_to_its_section_which_is_made_when_it_is_not_there(
    key: str, value: str
) -> None:
    text = patch_toml(TEXT, {key: value})
    section, _, leaf = key.rpartition(".")
    told = tomllib.loads(text)
    assert (told[section] if section else told)[leaf] == value
    assert [line for line in TEXT.splitlines() if line not in text.splitlines()] == []


@given(
    st.dictionaries(
        st.sampled_from(["name", "description", "proxy.hosts", "mirror.port", "peer.port"]),
        st.one_of(
            st.booleans(),
            st.integers(0, 99999),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        ),
    )
)
def test_any_values_are_what_the_file_says_then(changes: dict[str, Value]) -> None:
    told = tomllib.loads(patch_toml(TEXT, changes))
    for key, value in changes.items():
        section, _, leaf = key.rpartition(".")
        assert (told[section] if section else told)[leaf] == value


def test_a_section_written_otherwise_is_left_to_a_person() -> None:
    with pytest.raises(ValueError, match="by hand"):
        patch_toml("proxy = { enabled = true }\n", {"proxy.enabled": False})
