"""Records what this process prints: its descriptors 1 and 2 lead through the console process."""
