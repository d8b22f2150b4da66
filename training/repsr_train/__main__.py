"""`python -m repsr_train`: the same as `repsr-train`."""

from repsr_train.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
