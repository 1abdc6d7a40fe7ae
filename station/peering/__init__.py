"""Gossip over mutual TLS: keys, join, driver."""
