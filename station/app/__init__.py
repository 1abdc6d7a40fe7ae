"""The supervisor and the composition root."""
