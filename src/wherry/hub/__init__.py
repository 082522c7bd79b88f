"""Registry server, index and web site in one process."""
