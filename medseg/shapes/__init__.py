"""Shapes in masks: boxes, components, surface elements, contours; numba and scipy are loaded where they are used."""
