"""The porter: one small process per engine that outlives the daemon.

It holds what must go on while the daemon is down and what the firewall cannot do:

- the listening sockets of published ports. They keep the host's ports taken, and relay what the
  firewall does not lead to the container itself: loopback (127.0.0.0/8, ::1), IPv6 to containers
  without IPv6, and everything while somebody has flushed the firewall;
- the name servers of containers on user-defined networks (127.0.0.11).

::

    daemon ── client ── seqpacket socket: JSON and descriptors ──▶ __main__ ─┬─ relay
                                                                             └─ resolver ─ names

The daemon makes all sockets, those of name servers inside the containers' namespaces, and hands
them over; the porter needs no privilege. It ends when it holds nothing and no daemon is connected.
This package imports as little as it can: an idle porter is one small interpreter.
"""
