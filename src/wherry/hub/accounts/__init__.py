"""Who may do what: passwords, tokens, sessions, roles, limits."""
