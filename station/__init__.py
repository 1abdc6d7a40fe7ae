"""The management station: mirrors RPM software sources, serves them, and is the forward proxy of its instances."""

__version__ = "0.1.0"
