"""Blobs by digest, layers, and the storage drivers that mount them."""
