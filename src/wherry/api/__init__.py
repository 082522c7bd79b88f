"""The Engine REST API over the engine. No logic."""
