"""Where the bytes of blobs live: one protocol, local files and S3."""
