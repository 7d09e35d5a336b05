"""Experiments that run from the command line: the toy problem, the demo, and the page that shows runs."""
