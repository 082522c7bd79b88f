"""Containers: their records and states, and one module for each thing that happens to them."""
