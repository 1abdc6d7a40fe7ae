"""The repository that the lab mirrors when no other upstream is named: five small packages, built by build.sh.

`KEY` signs both the packages and repomd.xml.
"""

from pathlib import Path

REPOSITORY = Path(__file__).parent / "repository"
KEY = Path(__file__).parent / "RPM-GPG-KEY-demo"
PACKAGE = "station-demo-all"  # requires every other one
