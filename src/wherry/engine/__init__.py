"""The domain: containers, exec, health, events, state. No HTTP."""
