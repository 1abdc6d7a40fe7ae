"""What a diagnostic bundle says of itself."""

from station.setup.bundle import MANIFEST, NEVER, Bundle


def test_manifest_says_what_each_file_is_and_what_is_missing() -> None:
    bundle = Bundle(["Diagnosis."])
    bundle.add("b.txt", "the second", "2")
    bundle.add("a.txt", "the first", "1\n")
    bundle.leave_out("journal.txt", "journalctl is not\ninstalled")
    files = bundle.files()
    assert list(files) == [MANIFEST, "a.txt", "b.txt"]
    assert files["b.txt"] == b"2\n"
    lines = files[MANIFEST].decode().splitlines()
    assert lines[0] == "Diagnosis."
    assert "  a.txt        the first" in lines
    assert "  journal.txt  journalctl is not installed" in lines
    assert all(f"  {what}" in lines for what in NEVER)
    assert bundle.left_out() == {"journal.txt": "journalctl is not installed"}


def test_every_file_and_every_reason_is_masked_and_the_manifest_says_how_often() -> None:
    bundle = Bundle([], words=["hunter2000"])
    bundle.add("a.txt", "the first", "hunter2000, http://u:pw@h")
    bundle.leave_out("b.txt", "refused: hunter2000")
    files = bundle.files()
    assert not [name for name, content in files.items() if b"hunter2000" in content]
    assert "the first (2 places masked)" in files[MANIFEST].decode()


def test_bundle_of_nothing_is_a_manifest() -> None:
    assert list(Bundle([]).files()) == [MANIFEST]
