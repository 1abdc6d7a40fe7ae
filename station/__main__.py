"""`python -m station`: the same program as the `station` command."""

from station.cli.main import main

main()
