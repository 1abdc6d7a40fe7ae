"""The words of the field as frozen values. Pure: no I/O, no clock."""
