"""Networks: one file an architecture, all built from one frozen `NetSpec`, each stating its graph once."""
