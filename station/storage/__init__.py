"""The storage path: its layout, and the only code that writes below it."""
