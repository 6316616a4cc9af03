"""GPU and host of a node, read while a run goes on."""
