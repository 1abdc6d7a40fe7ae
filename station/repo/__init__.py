"""The RPM repository format and what to fetch, keep and collect. Pure."""
