"""microgradx and micrograd, measured side by side: ``python -m microgradx bench``."""
