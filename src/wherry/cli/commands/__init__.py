"""One command, or a small family of them, a module."""
