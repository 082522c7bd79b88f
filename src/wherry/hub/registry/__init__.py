"""The OCI distribution API: blobs, uploads, manifests, tags, referrers, catalog."""
