"""The RPM repository format and the decisions about it: bytes and facts in, values out. Pure."""
