"""A folder for PYTHONPATH: what a process does when it starts."""
