"""One container on this kernel: an OCI runtime spec in, a running process out."""
