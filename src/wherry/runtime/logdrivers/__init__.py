"""Log drivers that send a container's output to a log service.

A driver turns one LogRecord into bytes (a pure function) and hands them to a Channel. They run
inside the shim, so that a dead daemon loses no line, and import nothing they do not need.
"""
