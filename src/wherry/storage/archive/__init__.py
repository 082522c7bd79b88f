"""Tar archives from strangers: read with limits, extracted without leaving the root, and written
so that the same tree always gives the same bytes."""
