"""Holds the zoo's float networks against other people's: the same weights and pictures must give the same answers."""
