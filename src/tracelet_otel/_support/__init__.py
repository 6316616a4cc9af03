"""Code that any part of the package may use: error reporting, environment variables, processes, text."""
