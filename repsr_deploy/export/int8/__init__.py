"""Int8: explicit symmetric Q/DQ within a budget of PSNR.

`plan` says what int8 means and where it is; `calibrate` makes a plan from photographs, `qdq` writes one into a graph,
and `convert.to_int8` does both and lets sensitive layers stay float.
"""
