"""The zoo makes the quantized models, the demo clip and the reference answers that the repository carries.

`zoo/make.sh TARGET` sets up the pinned Python environment and runs `python -m zoo TARGET`.
"""
