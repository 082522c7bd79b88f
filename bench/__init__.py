"""Measures Wherry side by side with dockerd on one machine, in one run."""
