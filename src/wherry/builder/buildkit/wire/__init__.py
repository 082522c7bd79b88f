"""BuildKit's messages and services on the wire; the modules are made by ``contrib/build-wire``."""
