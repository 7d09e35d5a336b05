"""Geometries, materials, backgrounds, renderers and exporters that configs name; importing registers them."""
