"""station.toml as frozen values; one error that lists every problem by its key."""
