"""microgradx among the libraries people train with: ``python -m microgradx bench --peers``."""
