"""Resource attributes: which run and rank a process belongs to, where it runs, and on which software and code."""
