"""The bundled world: rendered images with known attributes, their judge, and the networks trained on them."""

from .judge import ToyworldJudge
from .render import render, render_scenes
from .truth import (
    accuracy,
    entropy,
    expected_entropy,
    expected_total_variation,
    modes_covered,
    total_variation,
    true_distribution,
    truth_metrics,
)
from .view_metrics import judge_objects
from .world import ACCENTS, BACKGROUNDS, CLASSES, COLORS, VIEWS, Camera, Scene, sample_scenes, view_of

__all__ = [
    "ACCENTS",
    "BACKGROUNDS",
    "CLASSES",
    "COLORS",
    "VIEWS",
    "Camera",
    "Scene",
    "ToyworldJudge",
    "accuracy",
    "entropy",
    "expected_entropy",
    "expected_total_variation",
    "judge_objects",
    "modes_covered",
    "render",
    "render_scenes",
    "sample_scenes",
    "total_variation",
    "true_distribution",
    "truth_metrics",
    "view_of",
]
