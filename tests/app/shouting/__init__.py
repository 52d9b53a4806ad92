"""A runner that floods its output, by `sitecustomize` on PYTHONPATH."""
