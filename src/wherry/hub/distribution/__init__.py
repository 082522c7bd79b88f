"""The words of the OCI distribution specification: names, manifests, errors; pure."""
