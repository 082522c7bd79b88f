"""Network drivers, address management, firewall, published ports, DNS."""
