"""Networks: one file per block family, all built from one frozen `NetSpec`."""
