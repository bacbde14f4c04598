"""The zoo's tests: `zoo/make.sh test`."""
