"""What a proxy request asks for, and whether it may. Pure."""
