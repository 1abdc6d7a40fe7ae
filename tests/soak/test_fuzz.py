"""Strangers' bytes at the parsers: the corpora replayed always, and ten minutes of fuzzing each in `make soak`."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import corpus
from tests.soak.parsers import PARSERS

FUZZ_S = 600
INPUT_BYTES_MAX = 4096  # beyond the longest PROXY header; heads of 16 KiB have tests of their own
EXECUTIONS_MIN = 100_000  # in FUZZ_S: a fuzzer that does less is not fuzzing

WORDS = [
    *(f"{method} " for method in ("GET", "HEAD", "CONNECT", "POST", "TRACE")),
    *"HTTP/1.1 HTTP/1.0 http:// https:// bytes= bytes=0-0 chunked close keep-alive PROXY TCP4 TCP6 UNKNOWN".split(),
    *"Host: Range: If-Range: If-None-Match: Content-Length: Transfer-Encoding: Connection: Via: Expect:".split(),
    *"/repo/a/repodata/repomd.xml /health/ready /mirrorlist/ /metalink/ /keys/ /pool/ /@ %2e%2e %00 ..".split(),
    *"example.com :443 :80 :65535 [::1] [::ffff:127.0.0.1] 127.0.0.1 0x7f.1 localhost. u:p@".split(),
    "\r\n", "\r\n\r\n", "\n", "\0", "\t", " ", "\r\n ", "\r\n\r\n\0\r\nQUIT\n", "\x21\x11\0\x0c", "\x20\0\0\0",
]  # fmt: skip


@pytest.mark.parametrize("name", PARSERS)
def test_what_fuzzing_has_found_so_far_holds(name: str) -> None:
    inputs = corpus.read(name)
    assert len(inputs) >= 40
    assert sum(map(len, inputs)) <= corpus.BYTES_MAX
    for data in inputs:
        PARSERS[name](data)


def test_a_corpus_comes_back_as_it_was_kept() -> None:
    data = bytes(range(256)) + b"\\x00\\n"
    assert corpus.unescaped(corpus.escaped(data)) == data
    assert "\n" not in corpus.escaped(data)


def test_a_parser_that_breaks_its_word_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.soak.parsers.select_range", lambda _header, _size: None)
    with pytest.raises(AssertionError):
        PARSERS["byte_range"](b"bytes=0-1")


def test_a_corpus_grows_by_the_short_and_not_beyond_its_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path)
    corpus.write("any", [b"known"])
    assert corpus.grow("any", [b"known", b"new", b"x" * (corpus.INPUT_BYTES_MAX + 1)]) == 1
    assert corpus.read("any") == [b"new", b"known"]
    corpus.grow("any", [b"%03d" % number * 100 for number in range(500)])
    assert sum(map(len, corpus.read("any"))) <= corpus.BYTES_MAX


def fuzz(name: str, directory: Path, *options: str) -> str:
    """What libFuzzer said; raises CalledProcessError when it found something."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.fuzz", name, *options],
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
        timeout=FUZZ_S + 300,
        check=False,
    )
    found = [corpus.escaped(path.read_bytes()) for path in directory.glob("crash-*")]
    assert not done.returncode, f"{found}\n{done.stderr[-4000:]}"
    return done.stderr


@pytest.mark.soak
@pytest.mark.skipif(not importlib.util.find_spec("atheris"), reason="no atheris for this machine")
@pytest.mark.parametrize("name", PARSERS)
def test_fuzzing_finds_nothing(name: str, tmp_path: Path) -> None:
    seeds, grown = tmp_path / "seeds", tmp_path / "grown"
    seeds.mkdir()
    grown.mkdir()
    for number, data in enumerate(corpus.read(name)):
        (seeds / str(number)).write_bytes(data)
    words = tmp_path / "words"
    quoted = ("".join(f"\\x{byte:02x}" for byte in word.encode("latin-1")) for word in WORDS)
    words.write_text("".join(f'"{word}"\n' for word in quoted))
    said = fuzz(
        name, tmp_path, str(grown), str(seeds), f"-max_total_time={FUZZ_S}",
        f"-max_len={INPUT_BYTES_MAX}", f"-dict={words}", f"-artifact_prefix={tmp_path}/",
        "-timeout=5", "-rss_limit_mb=1024", "-print_final_stats=1",
    )  # fmt: skip
    executions = re.search(r"stat::number_of_executed_units: (\d+)", said)
    assert executions
    assert int(executions[1]) >= EXECUTIONS_MIN
    kept = corpus.grow(name, [path.read_bytes() for path in grown.iterdir()])
    print(f"{name}: {executions[1]} executions, {kept} inputs more in its corpus")
