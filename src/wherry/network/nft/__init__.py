"""nftables: a small process applies rules with libnftables(3); ``watch`` hears of changes.

libnftables waits for the kernel with select(2), whose sets end at descriptor 1,023: a process with
more descriptors open is ended by it (glibc's check of ``FD_SET``). The daemon has one descriptor
for each running container and each client, so the library never enters the daemon: its process
has half a dozen descriptors for all its life.
"""
