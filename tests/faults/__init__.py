"""What must hold while processes, machines and databases fail."""
