"""``wherry-oci``: the runtime as an OCI command line for other engines."""
