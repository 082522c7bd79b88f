"""The client of registries: pull, push, search, login."""
