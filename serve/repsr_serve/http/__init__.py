"""The service over HTTP: one file per group of addresses."""
