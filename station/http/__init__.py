"""Request heads, ranges, conditionals and response heads for files. Pure."""
