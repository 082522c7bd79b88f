"""References, manifests, configs, history, tags, archives."""
