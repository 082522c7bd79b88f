"""The web site: server-rendered pages that work without JavaScript."""
