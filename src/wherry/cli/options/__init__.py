"""The values that describe containers on the command line, as the API wants them. No I/O but
reading files that flags name."""
