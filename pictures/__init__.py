"""The pictures that the documents show, made from real runs: `make pictures`."""
