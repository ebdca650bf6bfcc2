"""Compiled functions among their peers: ``python -m microgradx bench --compiled``."""
