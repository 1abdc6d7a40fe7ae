"""Gossip over mutual TLS: keys, join, ledger, driver."""
