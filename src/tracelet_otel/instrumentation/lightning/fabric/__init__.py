"""Instrumentation of Lightning Fabric, under both of its package names."""
