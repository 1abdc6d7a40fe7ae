"""Texts for other programs: .repo files, snippets, units. Pure."""
