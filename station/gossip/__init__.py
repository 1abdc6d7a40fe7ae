"""The replicated registry: bytes and `now` in, effects out. ALGORITHM.md beside this file says how it agrees."""
