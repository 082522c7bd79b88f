"""Queries: plain functions that take a connection, one subject a module."""
