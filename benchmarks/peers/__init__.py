"""Other model servers with the same weights, one file each, for other_servers.py."""
