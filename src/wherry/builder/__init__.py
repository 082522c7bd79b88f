"""Dockerfile to plan to cached execution."""
