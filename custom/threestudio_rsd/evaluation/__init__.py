"""Metrics of sets of images from runs, folders and files."""
