"""What is secret is in no text that others read."""

import base64
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.config.masking import MASK, masked, masked_settings, masked_toml, secret_words
from station.model.credential import Credential
from station.model.install_key import InstallKey
from station.peering.keys import create_authority
from station.peering.token import new_token

NOW = 1_800_000_000.0
AUTHORITY = create_authority("g", NOW)
INSTALL_KEY = InstallKey(bytes(32), 17443, bytes(range(32)))
TOML = """# north wing; ask ops@example.com
name = "StationA"
[proxy]
forward = "http://user:hunter2000@proxy.example.com:3128"  # the one of 2020
# forward = "http://old:swordfish@proxy.example.com:3128"
# password = "correct horse"
hosts = ["10.0.0.0/8"]
"""


@pytest.mark.parametrize(
    "secret",
    [
        AUTHORITY.ca_key.strip(),
        AUTHORITY.ca_key.strip().replace("\n", "\\n"),
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nabc\n-----END PGP PRIVATE KEY BLOCK-----",
        INSTALL_KEY.text(),
        new_token(bytes(32), 17443).text(),
        Credential("db1", "web", NOW).sign(b"key"),
    ],
)
def test_secret_is_known_by_its_form_wherever_it_stands(secret: str) -> None:
    text, count = masked(f'begin {{"x": "{secret}"}} end')
    assert (text, count) == (f'begin {{"x": "{MASK}"}} end', 1)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer " + "aZ-9" * 10, f"Authorization: Bearer {MASK}"),
        (f"cut: {AUTHORITY.ca_key[:120]}", f"cut: {MASK}"),
        ("proxy-authorization: basic dXNlcjpwdw==", f"proxy-authorization: basic {MASK}"),
        (
            "event='instance.registered' key='0123456789abcdef'",
            f"event='instance.registered' key='{MASK}'",
        ),
        ('{"key": "0123456789abcdef"}', f'{{"key": "{MASK}"}}'),
        ("GET http://user:pw@host/x", f"GET http://{MASK}@host/x"),
    ],
)
def test_secret_is_known_by_what_stands_before_it(text: str, clean: str) -> None:
    assert masked(text)[0] == clean


@pytest.mark.parametrize(
    "text",
    [
        AUTHORITY.ca,
        "http://lb.example.com:17080/repo/base/@" + "ab" * 32 + "/repodata/repomd.xml",
        "install-1 is the name of a host, station-a that of another, bearer of news",
        "ab" * 32,
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == (text, 0)


def test_configuration_keeps_all_but_its_secrets() -> None:
    text = masked_toml(TOML)
    assert text is not None
    for secret in ("hunter2000", "swordfish", "correct horse", "user:", "old:"):
        assert secret not in text
    assert f'forward = "http://{MASK}@proxy.example.com:3128"  # the one of 2020' in text
    assert tomllib.loads(text)["proxy"]["hosts"] == ["10.0.0.0/8"]
    assert masked_toml("name = ") is None


@pytest.mark.parametrize(
    "text",
    [
        'forward = "http://user:hunter2\\u0040@h:1"',
        'forward = "http://u\\u0073er:hunter2\\u0040h:1"',
        'x = { password = "hunter2" }',
        'password = """\nhunter2\n"""',
        'a = "b"; forward',
    ],
)
def test_configuration_that_hides_a_secret_is_masked_or_left_out(text: str) -> None:
    shown = masked_toml(text)
    assert shown is None or "hunter2" not in shown


def test_settings_are_shown_without_passwords() -> None:
    settings = {"name": "A", "proxy": {"forward": "u:pw@h:1", "port": 1}, "token": "x"}
    assert masked_settings(settings) == {
        "name": "A",
        "proxy": {"forward": f"{MASK}@h:1", "port": 1},
        "token": MASK,
    }


def test_password_is_known_in_each_form_in_which_it_may_be_logged() -> None:
    words = secret_words({"proxy": {"forward": "http://user:pass%20word@h:1"}})
    coded = base64.b64encode(b"user:pass word").decode()
    for text in ("user:pass%20word", "pass word", "pass%20word", coded, "a pass word in a log"):
        assert "pass" not in masked(text, words)[0]
        assert MASK in masked(text, words)[0]


@given(
    user=st.text(min_size=1, max_size=20),
    password=st.text(alphabet=st.characters(codec="utf-8"), min_size=6, max_size=30),
)
def test_whatever_the_password_of_the_outer_proxy_is_it_is_not_shown(
    user: str, password: str
) -> None:
    from station.config.patch import literal

    forward = f"http://{user}:{password}@proxy.invalid:1"
    text = f"[proxy]\nforward = {literal(forward)}\n"
    shown = masked_toml(text)
    assert shown is None or password not in shown.replace("proxy.invalid", "")
    assert password not in str(masked_settings({"forward": forward})["forward"]).replace(
        "proxy.invalid", ""
    )
