"""The page benchmark: this package beside other engines, on the user's own pages with truth.

`python -m ocrmypdf_trocr_mlx.bench --help`; needs the extra `bench`.
"""
